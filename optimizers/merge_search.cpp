#include "optimizers/merge_search.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace paretod {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double least_returned = 0.6;
constexpr std::size_t most_abandoned = 3;
constexpr int most_redraws = 20;
constexpr double tolerance_x = 1e-9;
constexpr std::uint32_t draws = 1;  // substream

/// As pycma has it.
double margin_of(const Coordinate& coordinate) {
  const double bound = std::max(std::abs(coordinate.low), std::abs(coordinate.high));
  return std::min((coordinate.high - coordinate.low) / 2, 0.05 * std::max(bound, 1.0));
}

}  // namespace

MergeSearch::MergeSearch(const SearchProblem& problem, const MergeGenes& genes,
                         std::function<double(const Point&, const Objectives&)> score,
                         Evaluations& evaluations)
    : problem_(problem), genes_(genes), score_(std::move(score)), evaluations_(evaluations) {}

void MergeSearch::begin(const MergeStage& stage) {
  stage_ = &stage;
  ++stages_;
  folds_.clear();
  const std::vector<std::size_t> betas = genes_.betas();
  std::vector<double> start;
  for (const std::size_t i : stage.coordinates) {
    Coordinate coordinate = problem_.space.coordinates()[i];
    if (!stage.negative && std::find(betas.begin(), betas.end(), i) != betas.end()) {
      coordinate.low = 0;
    }
    folds_.emplace_back(coordinate.low, coordinate.high, margin_of(coordinate));
    start.push_back(folds_.back().latent(stage.origin[i]));
  }
  core_.emplace(std::move(start), stage.sigma,
                CmaEs::Settings{.population = stage.population,
                                .covariance = stage.diagonal ? CmaEs::Covariance::diagonal
                                                             : CmaEs::Covariance::full,
                                .active = stage.active,
                                .deviations = stage.deviations});
  if (stage.distribution) core_ = stage.distribution;
  mean_.reset();
  average_.reset();
  late_means_.assign(stage.coordinates.size(), 0);
  late_ = 0;
  shift_.clear();
  generation_ = abandoned_ = 0;
  ended_ = stage.generations == 0;
  failed_ = racing_ = false;
  samples_.clear();
  queue_.clear();
  batch_.clear();
  waiting_.clear();
  have_ = {};
  fresh_ = {};
  finishing_ = missing_ = 0;
}

void MergeSearch::run(const MergeStage& stage) {
  begin(stage);
  bool stagnated = false;
  while (true) {
    try {
      while (!ended_ && evaluations_.slot_free() && evaluations_.remaining() > stage.reserve) {
        if (!queue_.empty()) {
          const Work work = queue_.front();
          queue_.pop_front();
          submit(work);
        } else if (const auto generation = wanting()) {
          draw(*generation);
        } else {
          break;
        }
      }
    } catch (const Stagnated&) {
      ended_ = stagnated = true;
    }
    if (evaluations_.in_flight() == 0) break;
    receive(evaluations_.next());
  }
  stage_ = nullptr;
  if (stagnated) throw Stagnated{};
}

std::optional<std::size_t> MergeSearch::wanting() const {
  const std::size_t size = core_->population();
  if (have_[0] < size) return generation_;
  const bool last = generation_ + 1 == stage_->generations;
  if (stage_->barrier || last || have_[1] == size) return std::nullopt;
  return generation_ + 1;
}

void MergeSearch::draw(std::size_t generation) {
  Rng rng(problem_.seed, ++drawn_, draws);
  Sample sample;
  for (int redraw = 0; redraw <= (stage_->redraw ? most_redraws : 0); ++redraw) {
    sample.latent = core_->sample(rng);
    bool beyond = false;
    for (std::size_t i = 0; i < folds_.size(); ++i) {
      beyond = beyond || folds_[i].beyond(sample.latent[i]);
    }
    if (!beyond) break;
  }
  sample.point = point_of(sample.latent);
  sample.key = genes_.key(sample.point);
  sample.epoch = generation_;
  sample.generation = generation;
  Entry& entry = archive_[sample.key];
  if (entry.point.empty()) entry.point = sample.point;
  // One merge, one point: another that means the same has nothing to add.
  sample.point = entry.point;
  entry.stage = stages_;
  const std::size_t number = drawn_;
  samples_.emplace(number, std::move(sample));
  ++have_[generation - generation_];
  const Work work{number, stage_->examples(generation).first == 0};
  if (const std::optional<double> score = known(work)) {
    take_in(number, work.full, *score);
  } else {
    submit(work);
  }
}

Candidate MergeSearch::candidate(const Work& work) const {
  const Sample& sample = samples_.at(work.sample);
  const MergeExamples examples = stage_->examples(sample.generation);
  if (work.full) return {sample.point, examples.full, search_split + splits * examples.block};
  const std::uint64_t block = examples.block * (examples.full / examples.first);
  return {sample.point, examples.first, search_split + splits * block};
}

MergeSearch::Size MergeSearch::size_of(std::uint64_t examples, std::uint64_t replicate) {
  constexpr std::uint64_t all = std::numeric_limits<std::uint64_t>::max();
  return examples == 0 ? Size{all, 0} : Size{examples, replicate / splits};
}

std::optional<double> MergeSearch::known(const Work& work) const {
  const Sample& sample = samples_.at(work.sample);
  const Candidate asked = candidate(work);
  const Entry& entry = archive_.at(sample.key);
  const auto outcome = entry.outcomes.find(size_of(asked.fidelity, asked.replicate));
  if (outcome == entry.outcomes.end()) return std::nullopt;
  return score_(sample.point, outcome->second);
}

void MergeSearch::submit(const Work& work) {
  fresh_[samples_.at(work.sample).generation - generation_] = true;
  asked_.emplace(evaluations_.submit(candidate(work)), work);
}

void MergeSearch::receive(const Trial& trial) {
  const auto found = asked_.find(trial.number);
  const Work work = found->second;
  asked_.erase(found);
  const Candidate& asked = trial.candidate;
  if (trial.ok()) {
    archive_.at(genes_.key(asked.point)).outcomes[size_of(asked.fidelity, asked.replicate)] =
        trial.objectives;
  }
  const auto place = samples_.find(work.sample);
  if (place == samples_.end()) return;  // of a generation that was abandoned
  Sample& sample = place->second;
  // Infeasible is a result, and what has no finite score ranks last as well.
  if (trial.ok() || trial.status == TrialStatus::infeasible) {
    const double score = trial.ok() ? score_(asked.point, trial.objectives) : infinity;
    take_in(work.sample, work.full, std::isfinite(score) ? score : infinity);
  } else if (trial.status == TrialStatus::failed && !sample.asked_again && !ended_) {
    sample.asked_again = true;
    queue_.push_front(work);
  } else {
    miss(work.sample);
  }
}

void MergeSearch::take_in(std::size_t number, bool full, double score) {
  Sample& sample = samples_.at(number);
  if (full) sample.full = score;
  if (sample.promoted) {
    --finishing_;
  } else {
    sample.first = score;
    (sample.generation == generation_ ? batch_ : waiting_).push_back(number);
  }
  advance();
}

void MergeSearch::miss(std::size_t number) {
  const Sample& sample = samples_.at(number);
  if (sample.promoted) {  // the next best finishes in its place
    --finishing_;
    promote();
    advance();
    return;
  }
  --have_[sample.generation - generation_];
  samples_.erase(number);
  const auto size = static_cast<double>(core_->population());
  if (static_cast<double>(++missing_) > size * (1 / least_returned - 1)) abandon();
}

void MergeSearch::abandon() {
  missing_ = 0;
  if (!racing_) {
    samples_.clear();
    queue_.clear();
    batch_.clear();
    waiting_.clear();
    have_ = {};
  }
  if (++abandoned_ == most_abandoned) ended_ = failed_ = true;
}

/// Moves on as far as the results allow.
void MergeSearch::advance() {
  while (!ended_ && finishing_ == 0) {
    if (racing_) {
      learn();
      continue;
    }
    if (batch_.size() < core_->population()) return;
    racing_ = true;
    std::stable_sort(batch_.begin(), batch_.end(), [&](std::size_t a, std::size_t b) {
      return *samples_.at(a).first < *samples_.at(b).first;
    });
    const MergeExamples examples = stage_->examples(generation_);
    if (examples.first == 0) continue;
    for (std::size_t i = 0; i < std::min(examples.finish, batch_.size()); ++i) promote();
  }
}

/// Sends the best of the batch that was not sent yet to its full examples.
void MergeSearch::promote() {
  const auto next = std::find_if(batch_.begin(), batch_.end(),
                                 [&](std::size_t i) { return !samples_.at(i).promoted; });
  if (next == batch_.end()) return;
  Sample& sample = samples_.at(*next);
  sample.promoted = true;
  sample.asked_again = false;
  sample.full = known({*next, true});
  if (sample.full) return;
  ++finishing_;
  queue_.push_back({*next, true});
}

void MergeSearch::learn() {
  // Those that finished first, by their full score; the others by their first one.
  std::stable_sort(batch_.begin(), batch_.end(), [&](std::size_t i, std::size_t j) {
    const Sample& a = samples_.at(i);
    const Sample& b = samples_.at(j);
    if (a.full.has_value() != b.full.has_value()) return a.full.has_value();
    return a.full ? *a.full < *b.full : *a.first < *b.first;
  });
  std::vector<CmaEs::Scored> generation;
  double rank = 0;
  for (const std::size_t i : batch_) {
    Sample& sample = samples_.at(i);
    // Of an older distribution the step counts, not the place: else it would take back what the
    // last generation moved (N = 100, 8 slots: 39 % of the gap closed instead of 61 %).
    for (std::size_t k = 0; sample.epoch < generation_ && k < shift_.size(); ++k) {
      sample.latent[k] += shift_[k];
    }
    generation.push_back({std::move(sample.latent), rank++});
    samples_.erase(i);
  }
  shift_ = core_->mean();
  core_->update(std::move(generation));
  std::vector<double> mean = core_->mean();
  double widest = 0;
  for (std::size_t i = 0; i < mean.size(); ++i) {
    mean[i] = folds_[i].home(mean[i]);
    shift_[i] = mean[i] - shift_[i];
    widest = std::max(widest, core_->deviation(i));
  }
  mean_ = point_of(mean);
  if (10 * (generation_ + 1) > 7 * stage_->generations) {
    ++late_;
    std::vector<double> average(mean.size());
    for (std::size_t i = 0; i < mean.size(); ++i) {
      late_means_[i] += mean[i];
      average[i] = late_means_[i] / static_cast<double>(late_);
    }
    average_ = point_of(average);
  }
  core_->set_mean(std::move(mean));
  core_->set_sigma(std::max(core_->sigma(), stage_->least_sigma));
  ++generation_;
  batch_ = std::exchange(waiting_, {});
  have_ = {have_[1], 0};
  missing_ = abandoned_ = 0;
  // Nothing new: the distribution has become a few merges that are all known.
  ended_ = !fresh_[0] || widest < tolerance_x || core_->exhausted() ||
           generation_ == stage_->generations;
  fresh_ = {fresh_[1], false};
  racing_ = false;
}

Point MergeSearch::point_of(const std::vector<double>& latent) const {
  Point point = stage_->origin;
  for (std::size_t i = 0; i < latent.size(); ++i) {
    point[stage_->coordinates[i]] = folds_[i].value(latent[i]);
  }
  return genes_.canonical(problem_.space.repair(std::move(point)));
}

std::vector<MergeSearch::Measured> MergeSearch::measured(bool last_stage) const {
  const auto counts = [&](const Entry& entry) {
    return !entry.outcomes.empty() && (!last_stage || entry.stage == stages_);
  };
  Size most{};
  for (const auto& [key, entry] : archive_) {
    if (counts(entry)) most = std::max(most, entry.outcomes.rbegin()->first);
  }
  std::vector<Measured> all;
  for (const auto& [key, entry] : archive_) {
    const auto outcome = entry.outcomes.find(most);
    if (counts(entry) && outcome != entry.outcomes.end()) {
      all.push_back({entry.point, outcome->second});
    }
  }
  return all;
}

std::vector<Point> MergeSearch::best(std::size_t count) const {
  const std::vector<Measured> all = measured(true);
  std::vector<std::pair<double, const Point*>> ranking;
  for (const Measured& entry : all) {
    const double score = score_(entry.point, entry.objectives);
    if (std::isfinite(score)) ranking.emplace_back(score, &entry.point);
  }
  std::stable_sort(ranking.begin(), ranking.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Point> points;
  for (std::size_t i = 0; i < std::min(count, ranking.size()); ++i) {
    points.push_back(*ranking[i].second);
  }
  return points;
}

}  // namespace paretod
