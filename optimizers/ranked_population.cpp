#include "optimizers/ranked_population.hpp"

#include <cmath>
#include <utility>

namespace paretod {

bool RankedPopulation::dominates(const Member& a, const Member& b) const {
  if (a.violation != b.violation && (a.violation > 0 || b.violation > 0)) {
    return a.violation < b.violation;
  }
  if (better_) return better_(a, b);
  bool better = false;
  for (std::size_t k = 0; k < a.objectives.size(); ++k) {
    const double gain = b.objectives[k] - a.objectives[k];
    if (gain < 0) return false;
    if (gain == 0 || better) continue;
    better = deviations_ == 0 || gain > deviations_ * std::sqrt(a.variances[k] + b.variances[k]);
  }
  return better;
}

void RankedPopulation::add(Member member) {
  members_.push_back(std::move(member));
  const std::size_t words = (members_.size() + word_bits - 1) / word_bits;
  dominators_.emplace_back();
  for (auto& row : dominators_) row.resize(words, 0);
  compare(members_.size() - 1);
  rank_all();
}

void RankedPopulation::replace(std::size_t i, Member member) {
  members_[i] = std::move(member);
  compare(i);
  rank_all();
}

/// Sets row and column i anew.
void RankedPopulation::compare(std::size_t i) {
  const Word bit_i = Word{1} << i % word_bits;
  for (std::size_t j = 0; j < members_.size(); ++j) {
    if (j == i) continue;
    const Word bit_j = Word{1} << j % word_bits;
    Word& column = dominators_[j][i / word_bits];
    Word& row = dominators_[i][j / word_bits];
    column = dominates(members_[i], members_[j]) ? column | bit_i : column & ~bit_i;
    row = dominates(members_[j], members_[i]) ? row | bit_j : row & ~bit_j;
  }
}

void RankedPopulation::remove(std::size_t i) {
  const std::size_t last = members_.size() - 1;
  const Word bit_i = Word{1} << i % word_bits;
  const Word bit_last = Word{1} << last % word_bits;
  for (auto& row : dominators_) {
    const bool dominated_by_last = (row[last / word_bits] & bit_last) != 0;
    row[last / word_bits] &= ~bit_last;
    if (i == last) continue;
    Word& word = row[i / word_bits];
    word = dominated_by_last ? word | bit_i : word & ~bit_i;
  }
  if (i != last) {
    members_[i] = std::move(members_[last]);
    dominators_[i] = std::move(dominators_[last]);
  }
  members_.pop_back();
  dominators_.pop_back();
  rank_all();
}

/// Peels front after front off.
void RankedPopulation::rank_all() {
  const std::size_t n = members_.size();
  ranks_.assign(n, 0);
  worst_rank_ = 0;
  if (n == 0) return;
  std::vector<Word> left(dominators_[0].size(), 0);
  std::vector<std::size_t> waiting(n);
  for (std::size_t i = 0; i < n; ++i) {
    waiting[i] = i;
    left[i / word_bits] |= Word{1} << i % word_bits;
  }
  const auto is_dominated = [&](std::size_t i) {
    const auto& row = dominators_[i];
    for (std::size_t w = 0; w < left.size(); ++w) {
      if ((row[w] & left[w]) != 0) return true;
    }
    return false;
  };
  std::vector<std::size_t> next;
  for (std::size_t rank = 0; !waiting.empty(); ++rank) {
    worst_rank_ = rank;
    next.clear();
    for (const std::size_t i : waiting) {
      if (is_dominated(i)) {
        next.push_back(i);
      } else {
        ranks_[i] = rank;
      }
    }
    // With a confidence, dominance need not be transitive, and could go round in a circle.
    if (next.size() == waiting.size()) break;
    for (const std::size_t i : waiting) {
      if (ranks_[i] == rank) left[i / word_bits] &= ~(Word{1} << i % word_bits);
    }
    for (const std::size_t i : next) {
      left[i / word_bits] |= Word{1} << i % word_bits;
      ranks_[i] = rank + 1;
    }
    waiting.swap(next);
  }
}

}  // namespace paretod
