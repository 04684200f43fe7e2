#include "evaluators/diffusion/frechet.hpp"

// Callers already use every thread, and a product must not depend on how many there are.
#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>

namespace paretod {
namespace {

using Matrix = Eigen::MatrixXd;
using MatrixMap = Eigen::Map<const Matrix>;
using VectorMap = Eigen::Map<const Eigen::VectorXd>;

MatrixMap square(const std::vector<double>& values, std::size_t dimension) {
  const auto n = static_cast<Eigen::Index>(dimension);
  return {values.data(), n, n};
}

VectorMap column(const std::vector<double>& values) {
  return {values.data(), static_cast<Eigen::Index>(values.size())};
}

}  // namespace

void merge(const MomentSums& more, MomentSums& sums) {
  sums.count += more.count;
  for (std::size_t i = 0; i < sums.sum.size(); ++i) sums.sum[i] += more.sum[i];
  for (std::size_t i = 0; i < sums.products.size(); ++i) sums.products[i] += more.products[i];
}

Moments moments_of(const MomentSums& sums) {
  const std::size_t d = sums.sum.size();
  const auto n = static_cast<double>(sums.count);
  Moments moments{sums.count, std::vector<double>(d), std::vector<double>(d * d)};
  for (std::size_t i = 0; i < d; ++i) moments.mean[i] = sums.sum[i] / n;
  for (std::size_t i = 0; i < d; ++i) {
    for (std::size_t j = i; j < d; ++j) {
      const double raw = sums.products[i * sums.stride + j];
      const double covariance = (raw - n * moments.mean[i] * moments.mean[j]) / (n - 1);
      moments.covariance[i * d + j] = moments.covariance[j * d + i] = covariance;
    }
  }
  return moments;
}

void sum_strip(const SimdKernels& kernels, const float* features, std::size_t tiles,
               std::size_t row, MomentSums& sums) {
  kernels.second_moments(features, tiles, sums.stride, row,
                         sums.products.data() + row * sums.stride, sums.stride);
  for (std::size_t r = row; r < std::min(row + 4, sums.sum.size()); ++r) {
    double lanes[tile_lanes] = {};
    for (std::size_t tile = 0; tile < tiles; ++tile) {
      const float* from = features + (tile * sums.stride + r) * tile_lanes;
      for (std::size_t lane = 0; lane < tile_lanes; ++lane) lanes[lane] += from[lane];
    }
    sums.sum[r] = 0;
    for (const double lane : lanes) sums.sum[r] += lane;
  }
}

FrechetDistance::FrechetDistance(const Moments& reference)
    : dimension_(reference.mean.size()), mean_(reference.mean) {
  const MatrixMap covariance = square(reference.covariance, dimension_);
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(covariance);
  const Eigen::VectorXd roots = solver.eigenvalues().cwiseMax(0).cwiseSqrt();
  const Matrix root =
      solver.eigenvectors() * roots.asDiagonal() * solver.eigenvectors().transpose();
  root_.assign(root.data(), root.data() + root.size());
  trace_ = covariance.trace();
}

double FrechetDistance::to(const Moments& sample) const {
  const MatrixMap covariance = square(sample.covariance, dimension_);
  const MatrixMap root = square(root_, dimension_);
  const Matrix product = root * covariance * root;
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(product, Eigen::EigenvaluesOnly);
  return (column(sample.mean) - column(mean_)).squaredNorm() + trace_ + covariance.trace() -
         2 * solver.eigenvalues().cwiseMax(0).cwiseSqrt().sum();
}

FrechetDistance::Expansion FrechetDistance::expand(const Moments& sample) const {
  const MatrixMap covariance = square(sample.covariance, dimension_);
  const MatrixMap root = square(root_, dimension_);
  const Matrix product = root * covariance * root;
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(product);
  const Eigen::VectorXd roots = solver.eigenvalues().cwiseMax(0).cwiseSqrt();
  const Eigen::VectorXd shift = column(sample.mean) - column(mean_);

  Expansion expansion;
  expansion.distance = shift.squaredNorm() + trace_ + covariance.trace() - 2 * roots.sum();
  const Eigen::VectorXd gradient = 2 * shift;
  expansion.gradient.assign(gradient.data(), gradient.data() + gradient.size());

  // d tr(A^1/2 S A^1/2)^1/2 / dS = 1/2 A^1/2 (A^1/2 S A^1/2)^-1/2 A^1/2.  Directions in which the
  // reference is constant have no root; they take part through tr S alone.
  const double floor = 1e-7 * std::max(roots.maxCoeff(), 0.0);
  const Eigen::VectorXd weights =
      roots.unaryExpr([floor](double r) { return r > floor ? 1 / std::sqrt(r) : 0.0; });
  const Matrix half = root * solver.eigenvectors() * weights.asDiagonal();
  const Matrix curvature = Matrix::Identity(half.rows(), half.rows()) - half * half.transpose();
  expansion.curvature.assign(curvature.data(), curvature.data() + curvature.size());
  return expansion;
}

FrechetDistance::SampleExpansion FrechetDistance::expand(std::span<const double> samples) const {
  using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const auto d = static_cast<Eigen::Index>(dimension_);
  const auto n = static_cast<Eigen::Index>(samples.size()) / d;
  const auto freedom = static_cast<double>(n - 1);
  const Eigen::Map<const RowMajor> features(samples.data(), n, d);
  const Eigen::RowVectorXd mean = features.colwise().mean();
  const RowMajor centred = features.rowwise() - mean;
  const Eigen::VectorXd norms = centred.rowwise().squaredNorm();
  const Eigen::VectorXd shift = mean.transpose() - column(mean_);

  const RowMajor projected = centred * square(root_, dimension_) / std::sqrt(freedom);
  const Matrix gram = projected * projected.transpose();
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(gram);
  const Eigen::VectorXd roots = solver.eigenvalues().cwiseMax(0).cwiseSqrt();

  SampleExpansion expansion;
  expansion.distance = shift.squaredNorm() + trace_ + norms.sum() / freedom - 2 * roots.sum();
  // (x_i - m)' curvature (x_i - m) with the curvature of Expansion, in terms of the eigenvectors u
  // of A S1 A': |x_i - m|^2 - (n - 1) sum over k of sqrt(eigenvalue_k) u_k(i)^2.
  const Eigen::VectorXd influence =
      norms - freedom * solver.eigenvectors().cwiseAbs2() * roots + 2 * centred * shift;
  expansion.influence.assign(influence.data(), influence.data() + influence.size());
  return expansion;
}

}  // namespace paretod
