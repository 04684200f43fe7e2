#include "evaluators/builtin/functions.hpp"

#include <cmath>
#include <numbers>

namespace paretod {
namespace {

using std::numbers::pi;
using Values = std::span<const double>;
using Objectives = std::span<double>;

double sum(Values x) {
  double total = 0;
  for (const double value : x) total += value;
  return total;
}

double square(double x) {
  return x * x;
}

void sphere(Values x, Objectives f) {
  f[0] = 0;
  for (const double value : x) f[0] += square(value);
}

void rosenbrock(Values x, Objectives f) {
  f[0] = 0;
  for (std::size_t i = 0; i + 1 < x.size(); ++i) {
    f[0] += 100 * square(x[i + 1] - square(x[i])) + square(1 - x[i]);
  }
}

/// g of ZDT1 to ZDT3.
double zdt_g(Values x) {
  return 1 + 9 * sum(x.subspan(1)) / static_cast<double>(x.size() - 1);
}

void zdt1(Values x, Objectives f) {
  const double g = zdt_g(x);
  f[0] = x[0];
  f[1] = g * (1 - std::sqrt(x[0] / g));
}

void zdt2(Values x, Objectives f) {
  const double g = zdt_g(x);
  f[0] = x[0];
  f[1] = g * (1 - square(x[0] / g));
}

void zdt3(Values x, Objectives f) {
  const double g = zdt_g(x);
  f[0] = x[0];
  f[1] = g * (1 - std::sqrt(x[0] / g) - x[0] / g * std::sin(10 * pi * x[0]));
}

void zdt4(Values x, Objectives f) {
  double g = 1 + 10 * static_cast<double>(x.size() - 1);
  for (const double value : x.subspan(1)) g += square(value) - 10 * std::cos(4 * pi * value);
  f[0] = x[0];
  f[1] = g * (1 - std::sqrt(x[0] / g));
}

void zdt6(Values x, Objectives f) {
  const double mean = sum(x.subspan(1)) / static_cast<double>(x.size() - 1);
  const double g = 1 + 9 * std::pow(mean, 0.25);
  f[0] = 1 - std::exp(-4 * x[0]) * std::pow(std::sin(6 * pi * x[0]), 6);
  f[1] = g * (1 - square(f[0] / g));
}

/// DTLZ splits x into M-1 position variables and k distance variables.
Values distance_part(Values x, Objectives f) {
  return x.subspan(f.size() - 1);
}

void dtlz1(Values x, Objectives f) {
  const Values tail = distance_part(x, f);
  double g = static_cast<double>(tail.size());
  for (const double value : tail) g += square(value - 0.5) - std::cos(20 * pi * (value - 0.5));
  g *= 100;
  for (std::size_t m = 0; m < f.size(); ++m) {
    f[m] = 0.5 * (1 + g);
    for (std::size_t i = 0; i + m + 1 < f.size(); ++i) f[m] *= x[i];
    if (m > 0) f[m] *= 1 - x[f.size() - 1 - m];
  }
}

void dtlz2(Values x, Objectives f) {
  double g = 0;
  for (const double value : distance_part(x, f)) g += square(value - 0.5);
  for (std::size_t m = 0; m < f.size(); ++m) {
    f[m] = 1 + g;
    for (std::size_t i = 0; i + m + 1 < f.size(); ++i) f[m] *= std::cos(x[i] * pi / 2);
    if (m > 0) f[m] *= std::sin(x[f.size() - 1 - m] * pi / 2);
  }
}

void dtlz7(Values x, Objectives f) {
  const Values tail = distance_part(x, f);
  const double g = 1 + 9 * sum(tail) / static_cast<double>(tail.size());
  double h = static_cast<double>(f.size());
  for (std::size_t i = 0; i + 1 < f.size(); ++i) {
    f[i] = x[i];
    h -= f[i] / (1 + g) * (1 + std::sin(3 * pi * f[i]));
  }
  f[f.size() - 1] = (1 + g) * h;
}

std::vector<Parameter> reals(std::size_t dimension, double low, double high) {
  std::vector<Parameter> space(dimension);
  for (std::size_t i = 0; i < dimension; ++i) {
    space[i].name = 'x';
    space[i].name += std::to_string(i + 1);
    space[i].low = low;
    space[i].high = high;
  }
  return space;
}

std::vector<Parameter> zdt4_space() {
  auto space = reals(10, -5, 5);
  space[0].low = 0;
  space[0].high = 1;
  return space;
}

}  // namespace

std::vector<TestFunction> test_functions() {
  return {
      {"sphere", "Sum of squares; minimum 0 at the origin.", 1, 1, reals(10, -5, 5), false, sphere},
      {"rosenbrock", "Rosenbrock's curved valley; minimum 0 at (1, ..., 1).", 1, 2,
       reals(10, -5, 5), false, rosenbrock},
      {"zdt1", "ZDT1: convex front f2 = 1 - sqrt(f1).", 2, 2, reals(30, 0, 1), true, zdt1},
      {"zdt2", "ZDT2: concave front f2 = 1 - f1^2.", 2, 2, reals(30, 0, 1), true, zdt2},
      {"zdt3", "ZDT3: a front of five separate pieces.", 2, 2, reals(30, 0, 1), true, zdt3},
      {"zdt4", "ZDT4: many local fronts; best f2 = 1 - sqrt(f1).", 2, 2, zdt4_space(), true, zdt4},
      {"zdt6", "ZDT6: concave front, unevenly dense.", 2, 2, reals(10, 0, 1), true, zdt6},
      {"dtlz1", "DTLZ1: three objectives, flat front f1+f2+f3 = 1/2, many local fronts.", 3, 3,
       reals(7, 0, 1), true, dtlz1},
      {"dtlz2", "DTLZ2: three objectives, the front is an eighth of the unit sphere.", 3, 3,
       reals(12, 0, 1), true, dtlz2},
      {"dtlz7", "DTLZ7: three objectives, a front of four separate pieces.", 3, 3, reals(22, 0, 1),
       true, dtlz7},
  };
}

}  // namespace paretod
