/* An evaluator for paretod as a shared library: version 1 of the binary interface, plain C.
 *
 * The library is loaded by the program paretod-library-host, never by the daemon: if it crashes,
 * the host dies and is started again.  The library exports one function:
 *
 *   const paretod_evaluator *paretod_evaluator_v1(void);
 *
 * Requests and replies are the JSON texts of the evaluator protocol (README), because they say
 * everything: names, choices, subsets, parameters, fidelity.  A library that only needs numbers
 * finds them beside the text and needs no JSON parser.
 *
 * Strings are UTF-8 and end with a zero.  What is written to stdout goes to stderr, and is kept
 * with the attempt.  The daemon's deadlines, retries and limits are those of process evaluators.
 */
#ifndef PARETOD_EVALUATOR_H
#define PARETOD_EVALUATOR_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct paretod_request {
  const char *id;   /* to be repeated in replies */
  const char *json; /* the whole "evaluate" message */
  /* The candidate's values in the order of the space in describe(): numbers, booleans as 0 and 1,
   * lists one item after the other, texts as NaN.  None if describe() declares no space. */
  const double *values;
  size_t value_count;
} paretod_request;

/* Takes one JSON object: "progress" as often as you like, then one "result" or "error" for each
 * request.  Copies it.  May be called from any thread, also after evaluate() has returned, until
 * close() returns. */
typedef void (*paretod_reply)(void *host, const char *json);

typedef struct paretod_evaluator {
  /* Loads whatever is needed; the arguments are those of the configuration ("args").  The state
   * that the other functions get; NULL: failed, with the reason in `error` (ended by a zero). */
  void *(*open)(int argc, const char *const *argv, char *error, size_t error_size);
  /* The hello as JSON: name, slots, space, objectives.  Belongs to the library; valid until
   * close(). */
  const char *(*describe)(void *state);
  /* Evaluates a batch of at most `slots` requests, or only starts to.  They are valid until it
   * returns.  Not called again before it has returned. */
  void (*evaluate)(void *state, const paretod_request *requests, size_t count, paretod_reply reply,
                   void *host);
  /* Asks to stop working on a request, which still needs its reply; may be NULL.  Called from
   * another thread, also while evaluate() runs; the id may already be answered. */
  void (*cancel)(void *state, const char *id);
  /* Ends all work; the last call. */
  void (*close)(void *state);
} paretod_evaluator;

const paretod_evaluator *paretod_evaluator_v1(void);

#ifdef __cplusplus
}
#endif

#endif
