#pragma once
// The merging problems of scripts/bench-map: n tasks over n coefficients in [0, 1].  Synthetic
// ones: the accuracy on task i is a Gaussian bump between 0.05 and 0.95 of random positive definite
// curvature with its peak near 0.85 of the i-th unit vector, measured on 2,000 examples.  Real
// ones: config/examples/data/specialists.
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
/// `which` of the recipes in the folder: "far", "two", "four".  Null when it cannot be read.
void* map_problem_specialists(const char* which, const char* folder);
unsigned map_problem_dimension(const void* problem);
/// Accuracies count above it.
double map_problem_floor(const void* problem);
/// Accuracies of the point x [n] into out [n].
void map_problem_truth(const void* problem, const double* x, double* out);
/// The same as measured: the noise is a function of the point, so equal points measure equally.
void map_problem_measure(const void* problem, const double* x, double* out);
void map_problem_free(void* problem);
}
