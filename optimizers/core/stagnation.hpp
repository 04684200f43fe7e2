#pragma once
// Ends a search that has stopped getting better: an Evaluations around another one that watches
// what is told.

#include <cstdint>
#include <vector>

#include "optimizers/core/evaluations.hpp"

namespace paretod {

struct StagnationPolicy {
  std::uint64_t trials = 0;  ///< told without progress before the search ends; 0: never
  /// What counts as progress, relative to the range of each objective over the first `trials`.
  /// 0: 0.001 of one objective, 0.01 of several, whose front has room for a small gain somewhere
  /// long after its hypervolume has come to rest.
  double tolerance = 0;
};

/// Progress is a trial that improves the epsilon-box front (Laumanns et al., Combining convergence
/// and diversity, Evolutionary Computation 10(3), 2002; used to the same end by Hadka and Reed's
/// Borg, 2013): it works for any number of objectives, and costs a scan of a small front.
class StagnationWatch final : public Evaluations {
 public:
  StagnationWatch(Evaluations& inner, StagnationPolicy policy);

  TrialNumber submit(const Candidate& candidate) override;
  Trial next() override;
  std::vector<Trial> injected() override { return inner_.injected(); }
  [[nodiscard]] std::size_t in_flight() const override { return inner_.in_flight(); }
  [[nodiscard]] std::uint64_t remaining() const override { return inner_.remaining(); }
  [[nodiscard]] std::size_t parallelism() const override { return inner_.parallelism(); }

 private:
  void begin();
  [[nodiscard]] bool improves(const std::vector<double>& objectives);

  Evaluations& inner_;
  const StagnationPolicy policy_;
  std::uint64_t told_ = 0;
  std::uint64_t progress_at_ = 0;
  bool thrown_ = false;
  std::vector<std::vector<double>> first_;  ///< ok outcomes of the first `trials`
  std::vector<double> origin_, width_;      ///< of the boxes, per objective
  std::vector<std::vector<double>> boxes_;  ///< the front, as box indices
};

}  // namespace paretod
