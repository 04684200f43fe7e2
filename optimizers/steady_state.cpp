#include "optimizers/steady_state.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "optimizers/core/replicates.hpp"
#include "optimizers/sobol_sequence.hpp"

namespace paretod {
namespace {

class SteadyState {
 public:
  SteadyState(const SearchProblem& problem, const SteadyStateParams& params, std::size_t size,
              Survival& survival, Evaluations& evaluations)
      : problem_(problem),
        params_(params),
        size_(size),
        survival_(survival),
        evaluations_(evaluations),
        variation_(problem.space, params),
        population_(problem.noise.active() ? normal_quantile(problem.noise.confidence) : 0) {
    if (problem.space.dimension() <= SobolSequence::most_dimensions) {
      sequence_ = std::make_unique<SobolSequence>(problem.space.dimension(), problem.seed);
    }
    for (const Trial& trial : problem.known) {
      if (!tried_.insert(hash_of(trial.candidate.point)).second) continue;
      ++started_;
      take_in(trial);
    }
  }

  Report run() {
    while (true) {
      while (evaluations_.slot_free()) {
        const auto candidate = next_candidate();
        if (!candidate) break;
        const TrialNumber number = evaluations_.submit(*candidate);
        if (candidate->replicate > 0) repeating_.emplace(number, repeated_);
      }
      if (evaluations_.in_flight() == 0) {
        const bool spent = evaluations_.remaining() == 0;
        return {.stop_reason = spent ? "budget" : "every point of the space was tried",
                .quantities = {},
                .rows = {}};
      }
      const Trial trial = evaluations_.next();
      if (const auto repeated = repeating_.find(trial.number); repeated != repeating_.end()) {
        const TrialNumber first = repeated->second;
        repeating_.erase(repeated);
        take_in_replicate(first, trial);
      } else {
        take_in(trial);
      }
    }
  }

 private:
  // ---- asking ----------------------------------------------------------------------------------

  /// Nothing when the space holds no point that was not tried.
  std::optional<Candidate> next_candidate() {
    Rng rng(problem_.seed, ++draws_);
    if (next_initial_ < problem_.initial.size()) {
      ++started_;
      const Point& point = problem_.initial[next_initial_++];
      tried_.insert(hash_of(point));
      return candidate(point);
    }
    const bool breeding = population_.size() >= 2 && started_ >= size_;
    if (breeding && problem_.noise.active() && rng.bernoulli(params_.replicate_share)) {
      if (auto repeat = next_replicate()) return repeat;
    }
    // A finite space fills up: mutation alone will not find the last free points.
    for (int attempt = 0; attempt < 200; ++attempt) {
      Point point = breeding && attempt < 50 ? child(rng) : fresh(rng);
      if (!tried_.insert(hash_of(point)).second) continue;
      ++started_;
      return candidate(std::move(point));
    }
    return std::nullopt;
  }

  [[nodiscard]] Candidate candidate(Point point) const {
    return {std::move(point), static_cast<std::uint64_t>(params_.fidelity), 0, {}};
  }

  Point fresh(Rng& rng) {
    const bool first = started_ < size_;
    return first && sequence_ ? problem_.space.from_unit(sequence_->next())
                              : problem_.space.sample(rng);
  }

  Point child(Rng& rng) const {
    const std::size_t a = parent(rng);
    std::size_t b = parent(rng);
    if (a == b) b = (a + 1 + rng.below(population_.size() - 1)) % population_.size();
    return variation_.child(population_[a].point, population_[b].point, rng);
  }

  /// Binary tournament by rank, then by what the survival prefers.
  std::size_t parent(Rng& rng) const {
    const std::size_t a = rng.below(population_.size());
    const std::size_t b = rng.below(population_.size());
    if (population_.rank(a) != population_.rank(b)) {
      return population_.rank(a) < population_.rank(b) ? a : b;
    }
    return survival_.prefers(b, a) ? b : a;
  }

  /// The member of the front that was evaluated least often, the oldest first.
  std::optional<Candidate> next_replicate() {
    const Member* least = nullptr;
    std::uint64_t fewest = problem_.noise.replicates;
    for (std::size_t i = 0; i < population_.size(); ++i) {
      const Member& member = population_[i];
      if (population_.rank(i) > 0 || member.violation > 0) continue;
      const std::uint64_t asked = replicates_asked_[member.trial];
      if (asked + 1 >= fewest && !(asked + 1 == fewest && least && member.trial < least->trial)) {
        continue;
      }
      fewest = asked + 1;
      least = &member;
    }
    if (least == nullptr) return std::nullopt;
    Candidate repeat = candidate(least->point);
    repeat.replicate = ++replicates_asked_[least->trial];
    repeated_ = least->trial;
    return repeat;
  }

  // ---- being told ------------------------------------------------------------------------------

  void take_in(const Trial& trial) {
    if (!trial.ok()) return;
    Member member{trial.candidate.point, trial.objectives, {}, trial.violation(), trial.number};
    if (problem_.noise.active()) member.replicates = {trial.objectives};
    for (const double error : trial.standard_errors) {
      member.reported.push_back(add_reported(0, error));
      member.variances.push_back(std::max(0.0, member.reported.back()));
    }
    if (!spread_.empty()) assume_spread(member);
    population_.add(std::move(member));
    if (population_.size() <= size_) return;
    const std::size_t i = survival_.worst(population_);
    population_.remove(i);
    survival_.removed(i);
  }

  void take_in_replicate(TrialNumber first, const Trial& trial) {
    if (!trial.ok()) return;
    for (std::size_t i = 0; i < population_.size(); ++i) {
      if (population_[i].trial != first) continue;
      Member member = population_[i];
      member.replicates.push_back(trial.objectives);
      member.violation = std::max(member.violation, trial.violation());
      const std::size_t count = member.replicates.size();
      squares_.resize(member.objectives.size());
      for (std::size_t k = 0; k < member.objectives.size(); ++k) {
        double sum = 0;
        for (const auto& y : member.replicates) sum += y[k];
        const double delta = trial.objectives[k] - member.objectives[k];
        member.objectives[k] = sum / static_cast<double>(count);
        squares_[k] += delta * (trial.objectives[k] - member.objectives[k]);  // Welford
        double squares = 0;
        for (const auto& y : member.replicates) {
          squares += (y[k] - member.objectives[k]) * (y[k] - member.objectives[k]);
        }
        member.reported[k] = add_reported(member.reported[k], trial.standard_errors[k]);
        const double error =
            replicate_error(static_cast<std::uint32_t>(count), squares, member.reported[k]);
        member.variances[k] = error * error;
      }
      ++freedom_;
      population_.replace(i, std::move(member));
      learn_spread();
      return;
    }
  }

  /// What single outcomes without an error are taken to vary by: the spread among all replicates
  /// so far.  Members are told when it has changed by a quarter.
  void learn_spread() {
    std::vector<double> spread;
    for (const double squares : squares_) spread.push_back(squares / freedom_);
    const auto moved = [](double now, double before) {
      return now > 1.25 * before || before > 1.25 * now;
    };
    if (!spread_.empty() && std::equal(spread.begin(), spread.end(), spread_.begin(),
                                       [&](double a, double b) { return !moved(a, b); })) {
      return;
    }
    spread_ = std::move(spread);
    for (std::size_t i = 0; i < population_.size(); ++i) {
      Member member = population_[i];
      if (assume_spread(member)) population_.replace(i, std::move(member));
    }
  }

  /// Whether that changed anything.
  bool assume_spread(Member& member) const {
    if (member.replicates.size() != 1) return false;
    bool changed = false;
    for (std::size_t k = 0; k < spread_.size(); ++k) {
      if (member.reported[k] >= 0) continue;
      member.variances[k] = spread_[k];
      changed = true;
    }
    return changed;
  }

  const SearchProblem& problem_;
  const SteadyStateParams& params_;
  const std::size_t size_;
  Survival& survival_;
  Evaluations& evaluations_;
  const Variation variation_;
  std::unique_ptr<SobolSequence> sequence_;
  RankedPopulation population_;
  std::unordered_set<std::uint64_t> tried_;  ///< hashes of points; never iterated
  std::unordered_map<TrialNumber, std::uint64_t> replicates_asked_;  ///< by first trial
  std::unordered_map<TrialNumber, TrialNumber> repeating_;  ///< in flight: which trial they repeat
  std::vector<double> squares_;  ///< of all replicates' deviations from their point's mean
  double freedom_ = 0;           ///< their degrees of freedom
  std::vector<double> spread_;   ///< the variance that members were told; empty: none yet
  std::size_t next_initial_ = 0;
  std::size_t started_ = 0;   ///< points tried, imported ones included
  TrialNumber repeated_ = 0;  ///< what the replicate that is being submitted repeats
  std::uint64_t draws_ = 0;
};

}  // namespace

Report run_steady_state(const SearchProblem& problem, const SteadyStateParams& params,
                        std::size_t size, Survival& survival, Evaluations& evaluations) {
  return SteadyState(problem, params, size, survival, evaluations).run();
}

}  // namespace paretod
