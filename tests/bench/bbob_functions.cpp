#include "tests/bench/bbob_functions.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

namespace {

using Vector = std::vector<double>;
constexpr double pi = std::numbers::pi;

/// SplitMix64: the library stands alone.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : state_(seed) {}
  double uniform() {
    state_ += 0x9E3779B97F4A7C15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return (static_cast<double>((z ^ (z >> 31)) >> 11) + 0.5) * 0x1p-53;
  }
  double normal() {
    const double radius = std::sqrt(-2 * std::log(uniform()));
    return radius * std::cos(2 * pi * uniform());
  }

 private:
  std::uint64_t state_;
};

struct Instance;
using Value = double (*)(const Instance&, const Vector& shifted);

struct Instance {
  unsigned n = 0;
  Value value = nullptr;
  Vector optimum;
  std::vector<Vector> first, second;  // rotations, by row
};

std::vector<Vector> rotation(unsigned n, Draws& draws) {
  std::vector<Vector> rows(n, Vector(n));
  for (unsigned i = 0; i < n; ++i) {
    for (double& x : rows[i]) x = draws.normal();
    for (int twice = 0; twice < 2; ++twice) {  // Gram-Schmidt, again for the last digits
      for (unsigned j = 0; j < i; ++j) {
        double product = 0;
        for (unsigned k = 0; k < n; ++k) product += rows[i][k] * rows[j][k];
        for (unsigned k = 0; k < n; ++k) rows[i][k] -= product * rows[j][k];
      }
    }
    double square = 0;
    for (const double x : rows[i]) square += x * x;
    for (double& x : rows[i]) x /= std::sqrt(square);
  }
  return rows;
}

Vector turned(const std::vector<Vector>& rows, const Vector& x) {
  Vector y(x.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t k = 0; k < x.size(); ++k) y[i] += rows[i][k] * x[k];
  }
  return y;
}

double share(std::size_t i, std::size_t n) {
  return static_cast<double>(i) / static_cast<double>(n - 1);
}

Vector stretched(Vector x, double condition) {
  for (std::size_t i = 0; i < x.size(); ++i) x[i] *= std::pow(condition, 0.5 * share(i, x.size()));
  return x;
}

double oscillated(double x) {
  if (x == 0) return 0;
  const double a = std::log(std::abs(x));
  const double c1 = x > 0 ? 10 : 5.5, c2 = x > 0 ? 7.9 : 3.1;
  return std::copysign(std::exp(a + 0.049 * (std::sin(c1 * a) + std::sin(c2 * a))), x);
}

double sphere(const Instance&, const Vector& z) {
  double sum = 0;
  for (const double x : z) sum += x * x;
  return sum;
}

double ellipsoid(const Instance&, const Vector& z) {
  double sum = 0;
  for (std::size_t i = 0; i < z.size(); ++i) sum += std::pow(1e6, share(i, z.size())) * z[i] * z[i];
  return sum;
}

double ellipsoid_rotated(const Instance& self, const Vector& z) {
  return ellipsoid(self, turned(self.first, z));
}

double discus(const Instance& self, const Vector& shifted) {
  const Vector z = turned(self.first, shifted);
  return sphere(self, z) + (1e6 - 1) * z[0] * z[0];
}

double bent_cigar(const Instance& self, const Vector& shifted) {
  const Vector z = turned(self.first, shifted);
  return 1e6 * sphere(self, z) - (1e6 - 1) * z[0] * z[0];
}

double different_powers(const Instance& self, const Vector& shifted) {
  const Vector z = turned(self.first, shifted);
  double sum = 0;
  for (std::size_t i = 0; i < z.size(); ++i) {
    sum += std::pow(std::abs(z[i]), 2 + 4 * share(i, z.size()));
  }
  return std::sqrt(sum);
}

double sharp_ridge(const Instance& self, const Vector& shifted) {
  const Vector z = turned(self.second, stretched(turned(self.first, shifted), 10));
  double sum = 0;
  for (std::size_t i = 1; i < z.size(); ++i) sum += z[i] * z[i];
  return z[0] * z[0] + 100 * std::sqrt(sum);
}

double rosenbrock_at(const Vector& shifted) {
  const double scale = std::max(1.0, std::sqrt(static_cast<double>(shifted.size())) / 8);
  double sum = 0;
  for (std::size_t i = 0; i + 1 < shifted.size(); ++i) {
    const double a = scale * shifted[i] + 1;
    const double b = scale * shifted[i + 1] + 1;
    sum += 100 * (a * a - b) * (a * a - b) + (a - 1) * (a - 1);
  }
  return sum;
}

double rosenbrock(const Instance&, const Vector& z) {
  return rosenbrock_at(z);
}

double rosenbrock_rotated(const Instance& self, const Vector& z) {
  return rosenbrock_at(turned(self.first, z));
}

double rastrigin_at(const Vector& z) {
  double sum = 0;
  for (const double x : z) sum += 10 * (1 - std::cos(2 * pi * x)) + x * x;
  return sum;
}

double rastrigin(const Instance&, const Vector& z) {
  return rastrigin_at(stretched(z, 10));
}

double rastrigin_rotated(const Instance& self, const Vector& z) {
  return rastrigin_at(turned(self.second, stretched(turned(self.first, z), 10)));
}

double attractive_sector(const Instance& self, const Vector& shifted) {
  const Vector z = turned(self.second, stretched(turned(self.first, shifted), 10));
  double sum = 0;
  for (std::size_t i = 0; i < z.size(); ++i) {
    const double s = z[i] * self.optimum[i] > 0 ? 100 : 1;
    sum += s * s * z[i] * z[i];
  }
  return std::pow(oscillated(sum), 0.9);
}

double step_ellipsoid(const Instance& self, const Vector& shifted) {
  const Vector raw = stretched(turned(self.first, shifted), 10);
  Vector steps = raw;
  for (double& x : steps) {
    x = std::abs(x) > 0.5 ? std::floor(0.5 + x) : std::floor(0.5 + 10 * x) / 10;
  }
  const Vector z = turned(self.second, steps);
  double sum = 0;
  for (std::size_t i = 0; i < z.size(); ++i) sum += std::pow(100, share(i, z.size())) * z[i] * z[i];
  return 0.1 * std::max(std::abs(raw[0]) / 1e4, sum);
}

double schaffers(const Instance& self, const Vector& shifted) {
  const Vector z = stretched(turned(self.first, shifted), 10);
  double sum = 0;
  for (std::size_t i = 0; i + 1 < z.size(); ++i) {
    const double s = std::hypot(z[i], z[i + 1]);
    const double wave = std::sin(50 * std::pow(s, 0.2));
    sum += std::sqrt(s) * (1 + wave * wave);
  }
  const double mean = sum / static_cast<double>(z.size() - 1);
  return mean * mean;
}

double griewank_rosenbrock(const Instance& self, const Vector& shifted) {
  const Vector z = turned(self.first, shifted);
  const double scale = std::max(1.0, std::sqrt(static_cast<double>(z.size())) / 8);
  double sum = 0;
  for (std::size_t i = 0; i + 1 < z.size(); ++i) {
    const double a = scale * z[i] + 1;
    const double b = scale * z[i + 1] + 1;
    const double s = 100 * (a * a - b) * (a * a - b) + (a - 1) * (a - 1);
    sum += s / 4000 - std::cos(s) + 1;
  }
  return 10 * sum / static_cast<double>(z.size() - 1);
}

double weierstrass(const Instance& self, const Vector& shifted) {
  const Vector z = turned(self.second, stretched(turned(self.first, shifted), 0.01));
  double sum = 0;
  for (const double x : z) {
    for (int k = 0; k < 12; ++k) {
      sum += std::ldexp(1 - std::cos(2 * pi * std::pow(3, k) * x), -k);
    }
  }
  return 10 * std::pow(sum / static_cast<double>(z.size()), 3);
}

struct Function {
  const char* name;
  Value value;
};
constexpr std::array<Function, 16> functions = {{
    {"sphere", sphere},
    {"ellipsoid", ellipsoid},
    {"ellipsoid-rotated", ellipsoid_rotated},
    {"discus-rotated", discus},
    {"bent-cigar-rotated", bent_cigar},
    {"different-powers-rotated", different_powers},
    {"sharp-ridge-rotated", sharp_ridge},
    {"rosenbrock", rosenbrock},
    {"rosenbrock-rotated", rosenbrock_rotated},
    {"attractive-sector-rotated", attractive_sector},
    {"step-ellipsoid-rotated", step_ellipsoid},
    {"rastrigin", rastrigin},
    {"rastrigin-rotated", rastrigin_rotated},
    {"schaffers-rotated", schaffers},
    {"griewank-rosenbrock-rotated", griewank_rosenbrock},
    {"weierstrass-rotated", weierstrass},
}};

}  // namespace

unsigned bbob_count() {
  return static_cast<unsigned>(functions.size());
}

const char* bbob_name(unsigned function) {
  return functions[function].name;
}

void* bbob_make(unsigned function, unsigned n, unsigned long long seed) {
  auto* made = new Instance;
  Draws draws(seed * 1000003 + n * 101 + function);
  made->n = n;
  made->value = functions[function].value;
  for (unsigned i = 0; i < n; ++i) made->optimum.push_back(-4 + 8 * draws.uniform());
  made->first = rotation(n, draws);
  made->second = rotation(n, draws);
  return made;
}

double bbob_value(const void* instance, const double* x) {
  const auto* self = static_cast<const Instance*>(instance);
  Vector shifted(x, x + self->n);
  for (unsigned i = 0; i < self->n; ++i) shifted[i] -= self->optimum[i];
  return self->value(*self, shifted);
}

void bbob_free(void* instance) {
  delete static_cast<Instance*>(instance);
}
