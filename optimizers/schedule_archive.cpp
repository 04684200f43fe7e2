#include "optimizers/schedule_archive.hpp"

#include <algorithm>
#include <numeric>

namespace paretod {
namespace {

constexpr std::size_t single_population = 8;
constexpr std::size_t front_population = 16;
constexpr std::size_t masked_population = 40;

/// Enough for a front with a schedule of each length.
std::size_t steps_population(const Parameter& schedule) {
  return std::max(front_population, schedule.most - schedule.least + 4);
}

bool drops_nothing(const Steps& steps) {
  return std::all_of(steps.begin(), steps.end(), [](const Step& step) {
    return std::find(step.dropped.begin(), step.dropped.end(), true) == step.dropped.end();
  });
}

}  // namespace

bool SchedulePool::add(Member member) {
  population.add(std::move(member));
  const bool leads = population.rank(population.size() - 1) == 0;
  if (population.size() > size) {
    const std::size_t worst = survival.worst(population);
    population.remove(worst);
    survival.removed(worst);
  }
  return leads;
}

std::optional<std::size_t> SchedulePool::place_of(std::size_t entry) const {
  for (std::size_t i = 0; i < population.size(); ++i) {
    if (population[i].trial == entry) return i;
  }
  return std::nullopt;
}

std::vector<std::size_t> SchedulePool::ordered() const {
  std::vector<std::size_t> members(population.size());
  std::iota(members.begin(), members.end(), std::size_t{0});
  std::stable_sort(members.begin(), members.end(), [&](std::size_t a, std::size_t b) {
    if (population.rank(a) != population.rank(b)) return population.rank(a) < population.rank(b);
    return survival.prefers(a, b);
  });
  for (std::size_t& m : members) m = population[m].trial;
  return members;
}

ScheduleArchive::ScheduleArchive(const SearchProblem& problem, const AutoDiffusionParams& params,
                                 const ScheduleCoding& coding, const ScheduleCosts& costs,
                                 bool add_cost)
    : params_(params), coding_(coding), costs_(costs), add_cost_(add_cost) {
  const Parameter& schedule = coding.parameter();
  const bool front = problem.objectives.size() > 1 || add_cost;
  const std::size_t size = params.population > 0   ? static_cast<std::size_t>(params.population)
                           : !front                ? single_population
                           : schedule.mask.empty() ? steps_population(schedule)
                                                   : masked_population;
  std::vector<double> levels = params.rungs;
  if (levels.empty()) levels.push_back(static_cast<double>(params.fidelity));
  for (std::size_t r = 0; r < levels.size(); ++r) {
    const RankedPopulation::Better better = [this, r](const Member& a, const Member& b) {
      return this->better(r, a, b);
    };
    rungs_.push_back({static_cast<std::uint64_t>(levels[r]), SchedulePool(size, better),
                      SchedulePool(steps_population(schedule), better)});
  }
}

std::size_t ScheduleArchive::add(Point point) {
  Steps steps = coding_.decode(point);
  const double cost = costs_.of(steps);
  entries_.push_back({std::move(point), std::move(steps), cost});
  return entries_.size() - 1;
}

// ---- what is worth more
// --------------------------------------------------------------------------

std::optional<ScheduleWork> ScheduleArchive::next_promotion() {
  for (std::size_t r = rungs_.size() - 1; r-- > 0;) {
    ScheduleRung& rung = rungs_[r];
    const double room = params_.kept_share * static_cast<double>(rung.told);
    if (static_cast<double>(rung.promoted) + 1 > room) continue;
    const std::vector<std::size_t> order = rung.all.ordered();
    for (std::size_t i = 0; i < std::min(static_cast<std::size_t>(room), order.size()); ++i) {
      ScheduleEntry& entry = entries_[order[i]];
      if (entry.rungs_asked > r + 1) continue;
      entry.rungs_asked = r + 2;
      ++rung.promoted;
      return ScheduleWork{order[i], r + 1};
    }
  }
  return std::nullopt;
}

std::optional<ScheduleWork> ScheduleArchive::next_elite() {
  if (deterministic_ || params_.elite_replicates < 2) return std::nullopt;
  if (static_cast<double>(elites_asked_) >=
      params_.replicate_share * static_cast<double>(rungs_.back().told)) {
    return std::nullopt;
  }
  const RankedPopulation& population = rungs_.back().all.population;
  std::optional<std::size_t> chosen;
  auto fewest = static_cast<std::uint64_t>(params_.elite_replicates);
  for (std::size_t i = 0; i < population.size(); ++i) {
    const ScheduleEntry& entry = entries_[population[i].trial];
    if (population.rank(i) > 0 || population[i].violation > 0) continue;
    if (entry.replicates_asked >= fewest) continue;
    fewest = entry.replicates_asked;
    chosen = population[i].trial;
  }
  if (!chosen) return std::nullopt;
  ++elites_asked_;
  return ScheduleWork{*chosen, rungs_.size() - 1, entries_[*chosen].replicates_asked++};
}

std::optional<ScheduleWork> ScheduleArchive::next_probe() {
  const bool needless = params_.elite_replicates < 2 && params_.selection_replicates < 2 &&
                        params_.report_replicates < 2;
  if (probed_ || needless) return std::nullopt;
  for (std::size_t e = 0; e < entries_.size(); ++e) {
    if (entries_[e].values.empty() || entries_[e].values[0].empty()) continue;
    probed_ = e;
    if (rungs_.size() == 1) entries_[e].replicates_asked = 2;
    return ScheduleWork{e, 0, 1};
  }
  return std::nullopt;
}

// ---- being told
// ----------------------------------------------------------------------------------

bool ScheduleArchive::tell(const ScheduleWork& work, const Trial& trial) {
  ScheduleEntry& entry = entries_[work.entry];
  std::vector<double> values = trial.objectives;
  if (add_cost_) values.push_back(entry.cost);
  entry.values.resize(rungs_.size());
  auto& replicates = entry.values[work.rung];
  if (probed_ == work.entry && work.rung == 0 && work.replicate == 1) {
    deterministic_ = values == replicates[0];
  }
  if (replicates.size() <= work.replicate) replicates.resize(work.replicate + 1);
  replicates[work.replicate] = values;
  entry.violation = std::max(entry.violation, trial.violation());

  Member member{entry.point, std::move(values), {}, entry.violation, work.entry};
  member.variances.resize(member.objectives.size());
  if (work.replicate == 0) return tell_first(work, std::move(member));
  tell_further(work, std::move(member));
  return false;
}

bool ScheduleArchive::tell_first(const ScheduleWork& work, Member member) {
  ScheduleRung& rung = rungs_[work.rung];
  const ScheduleEntry& entry = entries_[work.entry];
  ++rung.told;
  if (work.rung + 1 == rungs_.size() && entry.violation == 0) {
    scores_.insert(0, std::vector{entry.cost, member.objectives[0]});
  }
  bool success = false;
  if (work.move) {
    const SchedulePool& pool = work.full ? rung.full : rung.all;
    const auto parent = pool.place_of(work.parent);
    success = parent && pool.population.dominates(member, pool.population[*parent]);
  }
  if (!coding_.parameter().mask.empty() && drops_nothing(entry.steps)) {
    const bool leads = rung.full.add(member);
    success = success || (work.full && leads);
  }
  return rung.all.add(std::move(member)) || success;
}

void ScheduleArchive::tell_further(const ScheduleWork& work, Member member) {
  for (SchedulePool* pool : {&rungs_[work.rung].all, &rungs_[work.rung].full}) {
    const auto place = pool->place_of(work.entry);
    if (!place) continue;
    // As it was, but for what better() looks up.
    member.objectives = pool->population[*place].objectives;
    pool->population.replace(*place, member);
  }
}

/// Pareto dominance of the means over the replicates that both have: equal replicates are equal
/// noise, and replicates differ in how easy they are.
bool ScheduleArchive::better(std::size_t rung, const Member& a, const Member& b) const {
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

std::optional<double> ScheduleArchive::score_of(const ScheduleEntry& entry) const {
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

}  // namespace paretod
