#pragma once
// Making a child of two schedules.  Every move keeps what a step carries with its step; which moves
// are used how often, and how far nodes move, adapts to what succeeds.  One object belongs to one
// search.

#include <array>
#include <cstddef>
#include <vector>

#include "optimizers/schedule_genome.hpp"

namespace paretod {

enum class ScheduleMove {
  shift_one,  ///< a node moves, by a share of the gap to its neighbours
  shift_all,  ///< every node does
  jump,       ///< a node goes anywhere
  blend,      ///< nodes of two parents, aligned by rank, are mixed or extrapolated
  splice,     ///< the early steps of one parent, the late ones of the other
  insert,     ///< a step more, in a gap
  remove,     ///< a step less
  resample,   ///< some steps more or less, with the same density
  choose,     ///< a step makes another choice
  flip,       ///< layers of a step are dropped or kept
  swap,       ///< a drop moves to another layer or step
  clear,      ///< a step, or all of them, drop nothing
  sweep,      ///< a layer is dropped, or kept, in all steps from one on
  inherit,    ///< drops of the other parent at the nodes of this one
};
constexpr std::size_t schedule_moves = 14;

class ScheduleVariation {
 public:
  /// Both must outlive it.
  ScheduleVariation(const Parameter& schedule, const ScheduleCosts& costs);

  struct Child {
    Steps steps;        ///< least to most of them, allowed by the costs; not yet sorted and rounded
    ScheduleMove move;  ///< what made it
  };
  /// Parents are valid.  Without `drops`, no move changes what is dropped; to meet the costs some
  /// layers still may be.
  [[nodiscard]] Child child(const Steps& a, const Steps& b, bool drops, Rng& rng) const;

  /// What came of a child that this move had made.
  void learn(ScheduleMove move, bool success);

  /// How often a move is used, in children.
  [[nodiscard]] double rate(ScheduleMove move) const;

 private:
  [[nodiscard]] ScheduleMove draw(const Steps& a, bool drops, Rng& rng) const;
  [[nodiscard]] bool possible(ScheduleMove move, std::size_t steps, bool drops) const;
  void apply(ScheduleMove move, Steps& steps, const Steps& other, Rng& rng) const;
  void shift(Steps& steps, std::size_t i, double size, Rng& rng) const;
  void insert(Steps& steps, Rng& rng) const;
  void resample(Steps& steps, Rng& rng) const;
  void splice(Steps& steps, const Steps& other, Rng& rng) const;
  void change_drops(ScheduleMove move, Steps& steps, const Steps& other, Rng& rng) const;

  const Parameter& schedule_;
  const ScheduleCosts& costs_;
  std::array<double, schedule_moves> credit_{};  ///< recent share of successes
  std::array<double, schedule_moves> size_{};    ///< of shifts, relative to gaps
};

}  // namespace paretod
