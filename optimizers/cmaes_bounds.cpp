#include "optimizers/cmaes_bounds.hpp"

#include <algorithm>
#include <iterator>

namespace paretod {
namespace {

/// How many are less.
template <class Value>
double rank_among(const std::vector<Value>& sorted, const Value& value) {
  return static_cast<double>(std::lower_bound(sorted.begin(), sorted.end(), value) -
                             sorted.begin());
}

}  // namespace

std::vector<double> bounded_ranks(const std::vector<Merit>& merits,
                                  const std::vector<double>& excesses, double strayed) {
  std::vector<Merit> outcomes = merits;
  std::sort(outcomes.begin(), outcomes.end());
  std::vector<double> outside;
  std::copy_if(excesses.begin(), excesses.end(), std::back_inserter(outside),
               [](double excess) { return excess > 0; });
  std::sort(outside.begin(), outside.end());
  const auto inside = static_cast<double>(merits.size() - outside.size());
  const double weight =
      std::min(1.0, std::max(inside / static_cast<double>(merits.size()), strayed / 2));
  std::vector<double> ranks;
  for (std::size_t i = 0; i < merits.size(); ++i) {
    ranks.push_back(rank_among(outcomes, merits[i]));
    if (excesses[i] > 0) {
      ranks.back() += weight * (inside / 2 + 0.5 + rank_among(outside, excesses[i]));
    }
  }
  return ranks;
}

}  // namespace paretod
