#pragma once
// The synthetic merging problems of scripts/bench-map: n tasks over n coefficients in [0, 1].  The
// accuracy on task i is a Gaussian bump between 0.05 and 0.95 of random positive definite curvature
// with its peak near 0.85 of the i-th unit vector, measured on 2,000 examples.
//
// In a shared library with a C interface, so that peers in Python call the same functions.

#include <cstddef>
#include <cstdint>

namespace paretod {

constexpr double accuracy_floor = 0.05;
constexpr double accuracy_range = 0.9;
constexpr double accuracy_examples = 2000;

}  // namespace paretod

extern "C" {
/// The caller frees.
void* map_problem_make(unsigned n, unsigned long long seed);
/// Accuracies of the point x [n] into out [n].
void map_problem_truth(const void* problem, const double* x, double* out);
/// The same as measured: the noise is a function of the point, so equal points measure equally.
void map_problem_measure(const void* problem, const double* x, double* out);
void map_problem_free(void* problem);
}
