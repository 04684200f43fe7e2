#pragma once
// A population with its non-domination ranks, kept up to date as members come and go one at a
// time.  Who dominates whom is kept as rows of bits, so that ranking takes a few word operations
// per member instead of the comparison of all pairs.  Not thread-safe.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "optimizers/core/trial.hpp"

namespace paretod {

struct Member {
  Point point;
  std::vector<double> objectives;  ///< means over the replicates, minimised
  std::vector<double> variances;   ///< of those means; zero where nothing is known
  double violation = 0;            ///< sum of violated constraints
  TrialNumber trial = 0;           ///< the first that evaluated the point
  std::vector<std::vector<double>> replicates = {};  ///< outcomes, when there may be several
  std::vector<double> reported = {};  ///< squared errors, as replicate_error() takes their sums
};

class RankedPopulation {
 public:
  /// `deviations`: how many standard errors a difference has to have in some objective before it
  /// counts; 0 compares the means as they are.
  explicit RankedPopulation(double deviations = 0) : deviations_(deviations) {}
  /// Feasible members are compared by this instead: whether a is better than b.
  using Better = std::function<bool(const Member& a, const Member& b)>;
  explicit RankedPopulation(Better better) : better_(std::move(better)) {}

  [[nodiscard]] std::size_t size() const { return members_.size(); }
  [[nodiscard]] const Member& operator[](std::size_t i) const { return members_[i]; }
  [[nodiscard]] const std::vector<Member>& members() const { return members_; }

  void add(Member member);
  /// The last member takes the place of the removed one.
  void remove(std::size_t i);
  /// After a further replicate.
  void replace(std::size_t i, Member member);

  /// Constraint domination (Deb et al., IEEE TEC 6(2), 2002, section VI): feasible before not,
  /// less violation before more, Pareto dominance among the feasible.
  [[nodiscard]] bool dominates(const Member& a, const Member& b) const;
  /// 0 is the front.
  [[nodiscard]] std::size_t rank(std::size_t i) const { return ranks_[i]; }
  [[nodiscard]] std::size_t worst_rank() const { return worst_rank_; }

 private:
  using Word = std::uint64_t;
  static constexpr std::size_t word_bits = 64;
  void compare(std::size_t i);
  void rank_all();

  const double deviations_ = 0;
  const Better better_;
  std::vector<Member> members_;
  std::vector<std::vector<Word>> dominators_;  ///< bit j of row i: member j dominates member i
  std::vector<std::size_t> ranks_;
  std::size_t worst_rank_ = 0;
};

}  // namespace paretod
