/* Merges of models in GPU memory: the binary interface of libparetod_cuda, version 2, plain C.
 *
 * For programs that own the memory, such as PyTorch: pointers go in, nothing is copied, and work is
 * only put on the caller's stream.  A plan is made once for tensors that stay where they are; each
 * run is then told the numbers of one or more candidates.
 *
 *   paretod_cuda_plan *plan;
 *   char error[1024];
 *   if (paretod_cuda_plan_create(0, &rule, 3, 1, tensors, count, &plan, error, sizeof error)) ...
 *   paretod_cuda_plan_run(plan, candidates, 1, stream, error, sizeof error);
 *
 * Methods and numbers mean what they mean to the merge evaluator (evaluators/merge/
 * merge_method.hpp); there are all methods but della_linear and della.  Sources, base and importances
 * may not change while a plan is used: thresholds and angles are kept from run to run, and only the
 * first run of slerp waits for the device.
 *
 * A plan is used by one thread at a time.  Functions return 0, or 1 for a wrong argument, or 2 when
 * the device failed; `error` then says why, ended by a zero.  After a 2 the process should end: CUDA
 * does not recover from an asynchronous fault.
 */
#ifndef PARETOD_CUDA_H
#define PARETOD_CUDA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PARETOD_CUDA_VERSION 2

enum { PARETOD_CUDA_F32 = 0, PARETOD_CUDA_F16 = 1, PARETOD_CUDA_BF16 = 2 };
enum { PARETOD_CUDA_OK = 0, PARETOD_CUDA_INVALID = 1, PARETOD_CUDA_FAILED = 2 };
/* Which units combine; automatic takes tensor cores beyond 16 candidates. */
enum { PARETOD_CUDA_AUTOMATIC = 0, PARETOD_CUDA_ORDINARY = 1, PARETOD_CUDA_TENSOR_CORES = 2 };

typedef struct paretod_cuda_rule {
  const char *method;
  int normalize;       /* 1, 0, or -1: as the method usually does */
  const char *rescale; /* "none", "expected", "l1", or NULL: as the method usually does */
  double gamma;        /* breadcrumbs */
  uint32_t groups;     /* of tensors with coefficients of their own, at least 1 */
  int deltas;          /* sources are differences from the base already */
  int no_base;         /* run a method that has a base without one, on the sources themselves */
  int keep_ties;       /* of equal magnitudes at the threshold keep all: S_alpha of Evo-Merging */
  int path;            /* PARETOD_CUDA_AUTOMATIC, ... */
} paretod_cuda_rule;

typedef struct paretod_cuda_tensor {
  const char *name; /* decides random masks */
  uint64_t elements;
  uint32_t group;
  int source_type; /* PARETOD_CUDA_F32, ... */
  int base_type;
  int output_type;
  const void *base;           /* device memory; NULL where the method has no base */
  const void *const *sources; /* one per source: device memory */
  void *const *outputs;       /* one per candidate of the largest run: device memory */
  const void *const *importances; /* fisher: one per source, none negative; else NULL */
  int importance_type;
} paretod_cuda_tensor;

typedef struct paretod_cuda_candidate {
  const double *weights;   /* [groups][sources] */
  const double *densities; /* [groups][sources]; NULL: all 1 */
  const double *lambdas;   /* [groups]; NULL: all 1 */
  const double *ts;        /* [groups], of slerp; NULL: all 0.5 */
  uint64_t seed;           /* of random masks */
} paretod_cuda_candidate;

typedef struct paretod_cuda_plan paretod_cuda_plan;

int paretod_cuda_version(void);

/* Outputs may overlap neither sources nor bases.  The arguments are copied; the memory they point
 * to stays the caller's and has to stay valid. */
int paretod_cuda_plan_create(int device, const paretod_cuda_rule *rule, size_t sources,
                             size_t candidates, const paretod_cuda_tensor *tensors, size_t count,
                             paretod_cuda_plan **plan, char *error, size_t error_size);
/* Returns when the work is on the stream (a cudaStream_t; NULL is the default one). */
int paretod_cuda_plan_run(paretod_cuda_plan *plan, const paretod_cuda_candidate *candidates,
                          size_t count, void *stream, char *error, size_t error_size);
/* Waits for its last run. */
void paretod_cuda_plan_destroy(paretod_cuda_plan *plan);

/* Bytes that a run reads once, and that it writes for each candidate. */
uint64_t paretod_cuda_plan_input_bytes(const paretod_cuda_plan *plan);
uint64_t paretod_cuda_plan_output_bytes(const paretod_cuda_plan *plan);

#ifdef __cplusplus
}
#endif

#endif
