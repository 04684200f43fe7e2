#include "optimizers/autodiffusion_front.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "optimizers/autodiffusion_final.hpp"
#include "optimizers/core/front.hpp"
#include "optimizers/crowding_survival.hpp"
#include "optimizers/ranked_population.hpp"
#include "optimizers/schedule_seeds.hpp"
#include "optimizers/schedule_variation.hpp"
#include "optimizers/variation.hpp"

namespace paretod {
namespace {

constexpr int most_redraws = 200;
constexpr std::size_t single_population = 8;
constexpr std::size_t front_population = 16;
constexpr std::size_t masked_population = 40;
constexpr std::size_t least_breeding = 4;
constexpr std::size_t mates_seen = 3;
/// Numbers of steps for which seeds are evaluated; schedules of other lengths descend from them.
constexpr std::size_t seeded_counts = 5;
/// Of the trials, for schedules that people use.
constexpr std::uint64_t seed_share = 8;

/// A schedule and what is known of it.
struct Entry {
  Point point;
  Steps steps;
  double cost = 0;
  double violation = 0;
  /// Objectives by rung and replicate; empty where not measured.  Only the highest rung has more
  /// than one replicate.
  std::vector<std::vector<std::vector<double>>> values = {};
  std::size_t rungs_asked = 1;
  std::uint64_t replicates_asked = 1;
};

/// One level of fidelity; what was measured at it competes within it only, since a Frechet distance
/// depends on the number of samples.
struct Rung {
  Rung(std::uint64_t samples, RankedPopulation::Better better)
      : fidelity(samples), population(std::move(better)) {}
  std::uint64_t fidelity;
  RankedPopulation population;  ///< Member::trial is the index of an entry
  CrowdingSurvival survival;
  std::uint64_t told = 0;
};

struct Work {
  std::size_t entry = 0;
  std::size_t rung = 0;
  std::uint64_t replicate = 0;
  std::optional<ScheduleMove> move = {};
  std::size_t parent = 0;  ///< an entry, with a move
};

class FrontSearch {
 public:
  FrontSearch(const SearchProblem& problem, const AutoDiffusionParams& params,
              Evaluations& evaluations)
      : problem_(problem),
        params_(params),
        evaluations_(evaluations),
        coding_(problem.space, schedule_index(problem.space)),
        costs_(schedule_costs(coding_.parameter(), params)),
        moves_(coding_.parameter(), costs_),
        plan_(autodiffusion_plan(problem, params)) {
    const Parameter& schedule = coding_.parameter();
    add_cost_ = problem.objectives.size() == 1 && plan_.points > 1;
    const bool front = problem.objectives.size() > 1 || add_cost_;
    size_ = params.population > 0     ? static_cast<std::size_t>(params.population)
            : !front                  ? single_population
            : schedule.mask.empty()   ? std::max(front_population, schedule.most - schedule.least + 4)
                                      : masked_population;
    if (problem.space.parameters().size() > 1) {
      others_.emplace(problem.space, VariationRates{.mutation_probability = others_rate()});
    }
    std::vector<double> levels = params.rungs;
    if (levels.empty()) levels.push_back(static_cast<double>(params.fidelity));
    for (std::size_t r = 0; r < levels.size(); ++r) {
      rungs_.emplace_back(static_cast<std::uint64_t>(levels[r]),
                          [this, r](const Member& a, const Member& b) { return better(r, a, b); });
    }
    take_in_known();
    plan_seeds();
  }

  Report run() {
    std::string reason;
    try {
      reason = search();
    } catch (const Stagnated&) {
      reason = "stagnation";
    }
    while (evaluations_.in_flight() > 0) receive(evaluations_.next());
    std::vector<Finalist> finalists;
    for (const Entry& entry : entries_) {
      if (const auto score = score_of(entry)) finalists.push_back({entry.point, entry.cost, *score});
    }
    return autodiffusion_finish(problem_, params_, plan_, std::move(finalists),
                                rungs_.back().fidelity, std::move(reason), evaluations_);
  }

 private:
  // ---- asking ----------------------------------------------------------------------------------

  std::string search() {
    while (true) {
      while (evaluations_.slot_free() && evaluations_.remaining() > reserve()) {
        const std::optional<Work> work = next_work();
        if (!work) break;
        const Candidate candidate{entries_[work->entry].point, rungs_[work->rung].fidelity,
                                  work->replicate, {}};
        in_flight_.emplace(evaluations_.submit(candidate), *work);
      }
      if (evaluations_.in_flight() == 0) {
        const bool spent = evaluations_.remaining() <= reserve();
        return spent ? "budget" : "every schedule was tried";
      }
      receive(evaluations_.next());
    }
  }

  /// Trials of the last stage, as far as the front goes by now.
  [[nodiscard]] std::uint64_t reserve() const {
    AutoDiffusionPlan plan = plan_;
    plan.points = std::clamp<std::uint64_t>(scores_.size(), 1, plan.points);
    return plan.cost();
  }

  std::optional<Work> next_work() {
    while (!first_.empty()) {
      Point point = std::move(first_.front());
      first_.pop_front();
      if (tried_.insert(hash_of(point)).second) return Work{add(std::move(point))};
    }
    if (auto probe = probe_replicates()) return probe;
    if (auto promotion = next_promotion()) return promotion;
    if (auto elite = next_elite()) return elite;
    return next_child();
  }

  /// Whether replicates differ at all: what does not need none of them.
  std::optional<Work> probe_replicates() {
    const bool needless = params_.elite_replicates < 2 && params_.selection_replicates < 2 &&
                          params_.report_replicates < 2;
    if (probed_ || needless) return std::nullopt;
    for (std::size_t e = 0; e < entries_.size(); ++e) {
      if (entries_[e].values.empty() || entries_[e].values[0].empty()) continue;
      probed_ = true;
      if (rungs_.size() == 1) entries_[e].replicates_asked = 2;
      return Work{e, 0, 1};
    }
    return std::nullopt;
  }

  /// The best of a rung that is in its leading share and was not yet asked for on the next; higher
  /// rungs first (Li et al., A system for massively parallel hyperparameter tuning, MLSys 2020).
  std::optional<Work> next_promotion() {
    for (std::size_t r = rungs_.size() - 1; r-- > 0;) {
      const Rung& rung = rungs_[r];
      const std::vector<std::size_t> order = ordered(rung);
      const auto leading = static_cast<std::size_t>(params_.kept_share *
                                                    static_cast<double>(rung.told));
      for (std::size_t i = 0; i < std::min(leading, order.size()); ++i) {
        Entry& entry = entries_[order[i]];
        if (entry.rungs_asked > r + 1) continue;
        entry.rungs_asked = r + 2;
        return Work{order[i], r + 1};
      }
    }
    return std::nullopt;
  }

  /// Entries of a rung, best first.
  static std::vector<std::size_t> ordered(const Rung& rung) {
    std::vector<std::size_t> members(rung.population.size());
    for (std::size_t i = 0; i < members.size(); ++i) members[i] = i;
    std::stable_sort(members.begin(), members.end(), [&](std::size_t a, std::size_t b) {
      if (rung.population.rank(a) != rung.population.rank(b)) {
        return rung.population.rank(a) < rung.population.rank(b);
      }
      return rung.survival.prefers(a, b);
    });
    for (std::size_t& m : members) m = rung.population[m].trial;
    return members;
  }

  /// A further replicate for the member of the front that has fewest.
  std::optional<Work> next_elite() {
    if (deterministic_ || params_.elite_replicates < 2) return std::nullopt;
    if (static_cast<double>(elites_asked_) >=
        params_.replicate_share * static_cast<double>(rungs_.back().told)) {
      return std::nullopt;
    }
    const RankedPopulation& population = rungs_.back().population;
    std::optional<std::size_t> chosen;
    auto fewest = static_cast<std::uint64_t>(params_.elite_replicates);
    for (std::size_t i = 0; i < population.size(); ++i) {
      const Entry& entry = entries_[population[i].trial];
      if (population.rank(i) > 0 || population[i].violation > 0) continue;
      if (entry.replicates_asked >= fewest) continue;
      fewest = entry.replicates_asked;
      chosen = population[i].trial;
    }
    if (!chosen) return std::nullopt;
    ++elites_asked_;
    return Work{*chosen, rungs_.size() - 1, entries_[*chosen].replicates_asked++};
  }

  std::optional<Work> next_child() {
    Rng rng(problem_.seed, entries_.size());
    const Rung& rung = breeding_rung(rng);
    for (int draw = 0; draw < most_redraws; ++draw) {
      std::optional<ScheduleMove> move;
      std::size_t parent_entry = 0;
      Point point;
      if (rung.population.size() < 2) {
        point = random_point(rng);
      } else {
        const std::size_t a = parent(rung, rng);
        const std::size_t b = mate(rung, a, rng);
        parent_entry = rung.population[a].trial;
        const Entry& first = entries_[parent_entry];
        const Entry& second = entries_[rung.population[b].trial];
        ScheduleVariation::Child child = moves_.child(first.steps, second.steps, rng);
        move = child.move;
        point = first.point;
        if (others_) others_->vary_others(coding_.index(), first.point, second.point, point, rng);
        point = coding_.encode(child.steps, std::move(point));
      }
      if (!tried_.insert(hash_of(point)).second) continue;
      return Work{add(std::move(point)), 0, 0, move, parent_entry};
    }
    return std::nullopt;
  }

  Point random_point(Rng& rng) const {
    Point point = problem_.space.sample(rng);
    Steps steps = coding_.decode(point);
    fit_to_costs(coding_.parameter(), costs_, steps, rng);
    return coding_.encode(steps, std::move(point));
  }

  /// High rungs know better, low ones have more to choose from.
  const Rung& breeding_rung(Rng& rng) const {
    for (std::size_t r = rungs_.size(); r-- > 1;) {
      if (rungs_[r].population.size() >= least_breeding && rng.bernoulli(0.5)) return rungs_[r];
    }
    return rungs_.front();
  }

  /// Binary tournament.
  static std::size_t parent(const Rung& rung, Rng& rng) {
    const RankedPopulation& population = rung.population;
    const std::size_t a = rng.below(population.size());
    const std::size_t b = rng.below(population.size());
    if (population.rank(a) != population.rank(b)) {
      return population.rank(a) < population.rank(b) ? a : b;
    }
    return rung.survival.prefers(b, a) ? b : a;
  }

  /// Of a few, the one whose number of steps is most like the first parent's.
  std::size_t mate(const Rung& rung, std::size_t a, Rng& rng) const {
    const RankedPopulation& population = rung.population;
    const auto steps_of = [&](std::size_t m) {
      return static_cast<double>(entries_[population[m].trial].steps.size());
    };
    std::size_t best = (a + 1 + rng.below(population.size() - 1)) % population.size();
    for (std::size_t i = 1; i < mates_seen; ++i) {
      const std::size_t m = (a + 1 + rng.below(population.size() - 1)) % population.size();
      const double closer = std::abs(steps_of(best) - steps_of(a)) -
                            std::abs(steps_of(m) - steps_of(a));
      if (closer > 0 || (closer == 0 && population.rank(m) < population.rank(best))) best = m;
    }
    return best;
  }

  // ---- being told ------------------------------------------------------------------------------

  void receive(const Trial& trial) {
    const auto found = in_flight_.find(trial.number);
    const Work work = found->second;
    in_flight_.erase(found);
    if (!trial.ok()) {
      if (work.move) moves_.learn(*work.move, false);
      return;
    }
    Entry& entry = entries_[work.entry];
    if (probed_ && work.rung == 0 && work.replicate == 1 && !compared_) {
      compared_ = true;
      const std::vector<double>& first = entry.values[0][0];
      if (std::equal(trial.objectives.begin(), trial.objectives.end(), first.begin())) {
        deterministic_ = true;
        plan_.be_deterministic();
      }
    }
    store(work, trial);
  }

  void store(const Work& work, const Trial& trial) {
    Entry& entry = entries_[work.entry];
    std::vector<double> values = trial.objectives;
    if (add_cost_) values.push_back(entry.cost);
    entry.values.resize(rungs_.size());
    auto& replicates = entry.values[work.rung];
    if (replicates.size() <= work.replicate) replicates.resize(work.replicate + 1);
    replicates[work.replicate] = values;
    entry.violation = std::max(entry.violation, trial.violation());

    Rung& rung = rungs_[work.rung];
    Member member{trial.candidate.point, values, std::vector<double>(values.size()),
                  entry.violation, work.entry};
    if (work.replicate > 0) {
      for (std::size_t i = 0; i < rung.population.size(); ++i) {
        if (rung.population[i].trial != work.entry) continue;
        member.objectives = rung.population[i].objectives;
        rung.population.replace(i, std::move(member));
        return;
      }
      return;
    }
    ++rung.told;
    if (work.rung + 1 == rungs_.size() && entry.violation == 0) {
      scores_.insert(0, std::vector{entry.cost, values[0]});
    }
    const bool dominates_parent = work.move && dominates_entry(rung, member, work.parent);
    rung.population.add(std::move(member));
    if (work.move) {
      const bool leads = rung.population.rank(rung.population.size() - 1) == 0;
      moves_.learn(*work.move, dominates_parent || leads);
    }
    if (rung.population.size() <= size_) return;
    const std::size_t worst = rung.survival.worst(rung.population);
    rung.population.remove(worst);
    rung.survival.removed(worst);
  }

  static bool dominates_entry(const Rung& rung, const Member& member, std::size_t entry) {
    for (std::size_t i = 0; i < rung.population.size(); ++i) {
      if (rung.population[i].trial != entry) continue;
      return rung.population.dominates(member, rung.population[i]);
    }
    return false;
  }

  /// Pareto dominance of the means over the replicates that both have: equal replicates are equal
  /// noise, and replicates differ in how easy they are.
  bool better(std::size_t rung, const Member& a, const Member& b) const {
    const auto& of_a = entries_[a.trial].values[rung];
    const auto& of_b = entries_[b.trial].values[rung];
    bool better = false;
    for (std::size_t k = 0; k < a.objectives.size(); ++k) {
      double gain = 0;
      for (std::size_t r = 0; r < std::min(of_a.size(), of_b.size()); ++r) {
        if (!of_a[r].empty() && !of_b[r].empty()) gain += of_b[r][k] - of_a[r][k];
      }
      if (gain < 0) return false;
      better = better || gain > 0;
    }
    return better;
  }

  /// At the highest rung, over all replicates; nothing when not measured there, or not feasible.
  [[nodiscard]] std::optional<double> score_of(const Entry& entry) const {
    if (entry.values.empty() || entry.values.back().empty() || entry.violation > 0) {
      return std::nullopt;
    }
    double sum = 0;
    double count = 0;
    for (const auto& objectives : entry.values.back()) {
      if (objectives.empty()) continue;
      sum += objectives[0];
      ++count;
    }
    return count > 0 ? std::optional(sum / count) : std::nullopt;
  }

  // ---- beginning -------------------------------------------------------------------------------

  std::size_t add(Point point) {
    Steps steps = coding_.decode(point);
    const double cost = costs_.of(steps);
    entries_.push_back({std::move(point), std::move(steps), cost});
    return entries_.size() - 1;
  }

  /// Those that were evaluated as this search would.
  void take_in_known() {
    for (const Trial& trial : problem_.known) {
      if (trial.candidate.replicate != 0 || trial.candidate.fidelity != rungs_.front().fidelity) {
        continue;
      }
      if (!tried_.insert(hash_of(trial.candidate.point)).second) continue;
      const std::size_t entry = add(trial.candidate.point);
      if (trial.ok()) store({entry}, trial);
    }
  }

  /// The user's points, then what people use: for the fewest, the most and the numbers of steps
  /// between them, halving the gaps.
  void plan_seeds() {
    first_.assign(problem_.initial.begin(), problem_.initial.end());
    const Parameter& schedule = coding_.parameter();
    std::size_t room = problem_.trials == 0 ? std::numeric_limits<std::size_t>::max()
                                            : std::max<std::size_t>(problem_.trials / seed_share, 4);
    const auto noise = noise_schedules(params_);
    std::size_t choice = 0;
    for (const std::size_t count : spread_counts(seeded_counts)) {
      for (const ScheduleSeed& seed : schedule_seeds(schedule, count, noise)) {
        if (room == 0) return;
        Steps steps;
        for (const double at : seed.nodes) {
          steps.push_back({at, static_cast<double>(choice), std::vector<bool>(schedule.mask.size())});
        }
        if (!schedule.choices.empty()) choice = (choice + 1) % schedule.choices.size();
        if (!costs_.allows(steps)) continue;
        first_.push_back(coding_.encode(steps, problem_.space.resting()));
        --room;
      }
    }
  }

  [[nodiscard]] std::vector<std::size_t> spread_counts(std::size_t wanted) const {
    const Parameter& schedule = coding_.parameter();
    std::vector<std::size_t> counts{schedule.least};
    const auto add = [&](std::size_t count) {
      if (std::find(counts.begin(), counts.end(), count) == counts.end()) counts.push_back(count);
    };
    add(schedule.most);
    const std::size_t range = schedule.most - schedule.least;
    for (std::size_t parts = 2; counts.size() < std::min(wanted, range + 1); parts *= 2) {
      for (std::size_t i = 1; i < parts; i += 2) {
        if (counts.size() < wanted) add(schedule.least + (range * i + parts / 2) / parts);
      }
    }
    return counts;
  }

  /// A coordinate in expectation, the schedule's counted as one.
  [[nodiscard]] double others_rate() const {
    const std::size_t others =
        problem_.space.dimension() - problem_.space.width(coding_.index());
    return 1 / static_cast<double>(others + 1);
  }

  const SearchProblem& problem_;
  const AutoDiffusionParams& params_;
  Evaluations& evaluations_;
  const ScheduleCoding coding_;
  const ScheduleCosts costs_;
  ScheduleVariation moves_;
  std::optional<Variation> others_;
  AutoDiffusionPlan plan_;
  bool add_cost_ = false;  ///< the evaluator's one objective competes with the computed cost
  std::size_t size_ = 0;
  std::deque<Rung> rungs_;
  std::deque<Point> first_;
  std::vector<Entry> entries_;
  std::unordered_set<std::uint64_t> tried_;  ///< hashes of points; never iterated
  std::map<TrialNumber, Work> in_flight_;
  ParetoArchive scores_;  ///< front of cost and first objective at the highest rung
  bool probed_ = false;
  bool compared_ = false;
  bool deterministic_ = false;
  std::uint64_t elites_asked_ = 0;
};

}  // namespace

Report run_autodiffusion_front(const SearchProblem& problem, const AutoDiffusionParams& params,
                               Evaluations& evaluations) {
  return FrontSearch(problem, params, evaluations).run();
}

}  // namespace paretod
