#include "daemon/rest/front_view.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>

#include "adapters/json/space_json.hpp"
#include "daemon/rest/json_text.hpp"
#include "daemon/rest/views.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

using nlohmann::json;

constexpr std::size_t remembered_jobs = 16;
constexpr std::size_t remembered_texts = 20'000;
constexpr std::size_t remembered_slices = 4;

/// Needs the job's lock.
FrontHead head_of(JobState& state) {
  return {.status = state.status(),
          .version = state.front_version(),
          .told = state.told_order().size(),
          .spec = &state.spec(),
          .report = is_final(state.status()) ? &state.report() : nullptr};
}

json point_view(const FrontPoint& point, const JobSpec& spec) {
  return {{"trial", point.trial},
          {"candidate", candidate_json(spec.space, point.candidate.point)},
          {"objectives", measured_view(point, spec.objectives)},
          {"tag", point.candidate.tag}};
}

/// What the optimizer itself would use, if its report says so.
json recommended_view(const Report* report, const SearchSpace& space) {
  if (report == nullptr || report->rows.empty()) return nullptr;
  json row = report_view(*report, space)["rows"][0];
  row.erase("difference");
  return row;
}

// ---- CSV ---------------------------------------------------------------------------------------

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == text.npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    quoted += c;
    if (c == '"') quoted += c;
  }
  return quoted + "\"";
}

std::string csv_cell(const json& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return csv_field(value.get_ref<const std::string&>());
  if (value.is_number_float()) return shortest(value.get<double>());
  return csv_field(value.dump());
}

/// Coefficients and shares get a column each; other lists stay in one cell, as JSON.
bool has_column_per_item(const Parameter& parameter) {
  return parameter.type == ParameterType::affine || parameter.type == ParameterType::simplex;
}

std::string csv_header(const JobSpec& spec, const FrontQuery& query) {
  std::string line = "trial";
  for (const Parameter& parameter : spec.space.parameters()) {
    if (!has_column_per_item(parameter)) {
      line += "," + csv_field(parameter.name);
      continue;
    }
    for (std::size_t i = 0; i < parameter.size; ++i) {
      line += "," + csv_field(parameter.name + "[" + std::to_string(i) + "]");
    }
  }
  for (const Objective& objective : spec.objectives) {
    line += "," + csv_field(objective.name) + "," + csv_field(objective.name + "_stderr");
  }
  if (query.confidence > 0) line += ",on_front";
  if (query.chooses()) line += ",chosen";
  return line + "\r\n";
}

std::string csv_line(const FrontPoint& point, const JobSpec& spec) {
  std::string line = std::to_string(point.trial);
  const json candidate = candidate_json(spec.space, point.candidate.point);
  for (const Parameter& parameter : spec.space.parameters()) {
    const auto value = candidate.find(parameter.name);
    const bool active = value != candidate.end();
    if (!has_column_per_item(parameter)) {
      line += "," + (active ? csv_cell(*value) : "");
      continue;
    }
    for (std::size_t i = 0; i < parameter.size; ++i) {
      line += "," + (active ? csv_cell((*value)[i]) : "");
    }
  }
  for (const Measurement& measurement : point.objectives) {
    line += "," + shortest(measurement.value) + ",";
    if (measurement.has_error()) line += shortest(measurement.standard_error);
  }
  return line;
}

// ---- sentences ---------------------------------------------------------------------------------

std::string number_text(double value) {
  char text[32];
  const int size = std::snprintf(text, sizeof text, "%.4g", value);
  return {text, static_cast<std::size_t>(size)};
}

std::string trial_text(TrialNumber trial) {
  return "trial " + std::to_string(trial);
}

/// "fd 0.7, time 0.3"; what weighs nothing is left out.
std::string weights_text(const std::vector<double>& weights,
                         const std::vector<Objective>& objectives) {
  std::string text;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0) continue;
    text += (text.empty() ? "" : ", ") + objectives[i].name + " " + number_text(weights[i]);
  }
  return text;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    text += (i == 0 ? "" : i + 1 < parts.size() ? ", " : " and ") + parts[i];
  }
  return text;
}

std::vector<std::string> constraint_texts(const FrontQuery& query,
                                          const std::vector<Objective>& objectives) {
  std::vector<std::string> texts;
  for (const FrontConstraint& each : query.where) texts.push_back(text_of(each, objectives));
  return texts;
}

/// Reference points in the minimised sign.
std::vector<std::optional<double>> minimised(std::vector<std::optional<double>> values,
                                             const std::vector<Objective>& objectives) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] && objectives[i].goal == Goal::maximize) values[i] = -*values[i];
  }
  return values;
}

std::string reference_sentence(const FrontSlice& slice, const Choice& choice,
                               const FrontQuery& query, const std::vector<Objective>& objectives) {
  const auto reference = minimised(query.reference_point, objectives);
  std::vector<std::string> short_of;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    if (!reference[i]) continue;
    const double behind = slice.points[choice.chosen][i] - *reference[i];
    if (behind > 0) short_of.push_back(objectives[i].name + " by " + number_text(behind));
  }
  if (short_of.empty()) {
    return "reaches the reference point, and exceeds it most evenly: achievement " +
           number_text(choice.value) + ", below 0 being better than asked for";
  }
  return "comes nearest to the reference point, which it misses in " + joined(short_of) +
         ": achievement " + number_text(choice.value) + ", where 0 would reach it";
}

std::string knee_sentence(const Choice& choice, std::size_t objectives) {
  const std::string base = objectives <= 2 ? "the line between the ends of the front"
                                           : "the plane through the worst of each objective";
  const std::string scale = " once every objective is scaled to the front's range";
  if (choice.value > 0) {
    return "lies farthest below " + base + ", by " + number_text(choice.value) + scale;
  }
  return "is the nearest to a knee that there is, but no point lies below " + base + scale;
}

std::string sentence_of(const FrontSlice& slice, const Choice& choice, std::size_t allowed,
                        const FrontQuery& query, const std::vector<Objective>& objectives) {
  std::string text = "Trial " + std::to_string(slice.trials[choice.chosen]) + " ";
  if (query.knee) {
    text += knee_sentence(choice, objectives.size());
  } else if (!query.reference_point.empty()) {
    text += reference_sentence(slice, choice, query, objectives);
  } else {
    text += query.method == PreferenceMethod::chebyshev
                ? "has the smallest augmented Chebyshev distance to the ideal point, "
                : "has the smallest weighted sum of the scaled objectives, ";
    text +=
        number_text(choice.value) + ", for the weights " + weights_text(query.weights, objectives);
  }
  if (!query.where.empty()) {
    text += "; among the " + std::to_string(allowed) + " of " +
            std::to_string(slice.trials.size()) + " points with " +
            joined(constraint_texts(query, objectives));
  }
  if (choice.runner_up) {
    text += "; next is " + trial_text(slice.trials[*choice.runner_up]) + " with " +
            number_text(choice.runner_up_value);
  }
  return text + ".";
}

json why_view(const FrontSlice& slice, const Choice& choice, std::size_t allowed,
              const FrontQuery& query, const std::vector<Objective>& objectives) {
  json why{{"method", name_of(query.method)},
           {"value", choice.value},
           {"runner_up", nullptr},
           {"considered", allowed},
           {"sentence", sentence_of(slice, choice, allowed, query, objectives)}};
  if (choice.runner_up) {
    why["runner_up"] = {{"trial", slice.trials[*choice.runner_up]},
                        {"value", choice.runner_up_value}};
  }
  if (query.knee) {
    why["method"] = "knee";
  } else if (!query.reference_point.empty()) {
    why["method"] = "reference_point";
    for (std::size_t i = 0; i < objectives.size(); ++i) {
      if (query.reference_point[i]) {
        why["reference_point"][objectives[i].name] = *query.reference_point[i];
      }
    }
  } else {
    why["weights"] = by_objective(query.weights, objectives);
  }
  if (!query.knee && query.method == PreferenceMethod::chebyshev) why["rho"] = augmentation;
  return why;
}

/// The point that comes closest to what nothing meets, and the sentence about it.
json closest_view(const FrontSlice& slice, const FrontQuery& query,
                  const std::vector<Objective>& objectives, std::string& message) {
  const std::string wanted = joined(constraint_texts(query, objectives));
  if (slice.trials.empty()) {
    message = "Nothing has been measured yet, so no point has " + wanted + ".";
    return nullptr;
  }
  const std::size_t place = closest_to(slice.points, objectives, slice.scale, query.where);
  json misses = json::array();
  std::vector<std::string> texts;
  for (const FrontConstraint& each : query.where) {
    const Objective& objective = objectives[each.objective];
    const double minimised_value = slice.points[place][each.objective];
    const double value = objective.goal == Goal::maximize ? -minimised_value : minimised_value;
    if (each.holds(value)) continue;
    const std::string text = text_of(each, objectives);
    misses.push_back({{"constraint", text}, {"value", value}, {"by", each.miss(value)}});
    texts.push_back(text + " by " + number_text(each.miss(value)));
  }
  message = "No point of the front has " + wanted + "; the closest is " +
            trial_text(slice.trials[place]) + ", which misses " + joined(texts) + ".";
  return {{"trial", slice.trials[place]}, {"misses", std::move(misses)}};
}

// ---- slices ------------------------------------------------------------------------------------

void measure(FrontSlice& slice) {
  slice.crowding = crowding_distances(slice.points);
  slice.scale = scale_of(slice.points);
}

/// Needs the job's lock.
std::shared_ptr<FrontSlice> slice_of(JobState& state) {
  auto slice = std::make_shared<FrontSlice>();
  const ParetoArchive& front = state.front();
  slice->points = front.all_objectives();
  slice->trials.reserve(front.size());
  for (std::size_t member = 0; member < front.size(); ++member) {
    const MeasuredPoint& measured = state.measured()[front.id(member)];
    const Outcome& first = *state.trials()[measured.first_trial - 1].outcome;
    slice->trials.push_back(measured.first_trial);
    slice->replicates.push_back(measured.replicates);
    for (std::size_t i = 0; i < measured.mean.size(); ++i) {
      slice->errors.push_back(measured.standard_error(i, first));
    }
  }
  return slice;
}

void add_point(FrontSlice& slice, const PooledPoints& pool, std::size_t point) {
  slice.trials.push_back(pool.first_trials[point]);
  slice.replicates.push_back(pool.replicates[point]);
  slice.points.emplace_back(pool.mean(point), pool.mean(point) + pool.objectives);
  slice.errors.insert(slice.errors.end(), pool.error(point), pool.error(point) + pool.objectives);
}

std::shared_ptr<FrontSlice> slice_of(const PooledPoints& pool) {
  ParetoArchive archive;
  for (std::size_t point = 0; point < pool.size(); ++point) {
    if (pool.feasible[point] != 0) {
      archive.insert(point, std::span(pool.mean(point), pool.objectives));
    }
  }
  auto slice = std::make_shared<FrontSlice>();
  slice->told = pool.rows;
  for (std::size_t member = 0; member < archive.size(); ++member) {
    add_point(*slice, pool, archive.id(member));
  }
  measure(*slice);
  return slice;
}

/// Points off the front that no member dominates with that confidence, sorted.
FrontSlice plausible_points(const PooledPoints& pool, const FrontSlice& front, double confidence) {
  const double z = normal_quantile(confidence);
  const std::size_t n = pool.objectives;
  std::vector<std::uint8_t> on_front;  // by trial
  for (const TrialNumber trial : front.trials) {
    if (on_front.size() <= trial) on_front.resize(trial + 1);
    on_front[trial] = 1;
  }
  // Who dominated a point is tried early for the next: most points fall at the first try.
  std::vector<std::size_t> order(front.trials.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<std::size_t> kept;
  for (std::size_t point = 0; point < pool.size(); ++point) {
    const TrialNumber trial = pool.first_trials[point];
    if (pool.feasible[point] == 0 || (trial < on_front.size() && on_front[trial] != 0)) continue;
    bool dominated = false;
    for (std::size_t k = 0; k < order.size() && !dominated; ++k) {
      dominated = dominates_surely(front.points[order[k]].data(), &front.errors[order[k] * n],
                                   pool.mean(point), pool.error(point), n, z);
      if (dominated) std::swap(order[k], order[k / 2]);
    }
    if (!dominated) kept.push_back(point);
  }
  std::sort(kept.begin(), kept.end(), [&](std::size_t a, std::size_t b) {
    return std::lexicographical_compare(pool.mean(a), pool.mean(a) + n, pool.mean(b),
                                        pool.mean(b) + n);
  });
  FrontSlice slice;
  for (const std::size_t point : kept) add_point(slice, pool, point);
  return slice;
}

/// The points at some places, with what only the job's trials know.
std::vector<FrontPoint> filled(Job& job, const JobSpec& spec, const FrontSlice& slice,
                               const std::vector<std::size_t>& places) {
  std::vector<FrontPoint> points;
  points.reserve(places.size());
  const std::size_t n = spec.objectives.size();
  for (const std::size_t place : places) {
    FrontPoint point{slice.trials[place], slice.replicates[place], {}, {}};
    for (std::size_t i = 0; i < n; ++i) {
      const double value = slice.points[place][i];
      const bool negated = spec.objectives[i].goal == Goal::maximize;
      point.objectives.push_back({negated ? -value : value, slice.errors[place * n + i], 0});
    }
    points.push_back(std::move(point));
  }
  if (points.empty()) return points;
  job.with_state([&](JobState& state) {
    for (FrontPoint& point : points) {
      const TrialRecord& record = state.trials()[point.trial - 1];
      point.candidate = record.candidate;
      for (std::size_t i = 0; i < n; ++i) {
        point.objectives[i].count = record.outcome->objectives[i].count;
      }
    }
  });
  return points;
}

}  // namespace

FrontHead front_head(Job& job) {
  FrontHead head = job.with_state(head_of);
  if (!is_final(head.status)) head.status = job.status();
  return head;
}

/// An answer before it is written.
struct FrontWriter::Answer {
  FrontHead head;
  std::shared_ptr<const FrontSlice> slice;
  std::vector<std::size_t> allowed;  ///< places that meet the constraints
  std::vector<std::size_t> shown;    ///< those of them that are listed
  std::optional<Choice> choice;
  FrontSlice plausible;  ///< empty unless asked for
  std::vector<std::size_t> plausible_allowed;
  std::vector<std::size_t> plausible_shown;
};

template <class Use>
void FrontWriter::with_memory(const std::string& job, Use use) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(recent_.begin(), recent_.end(),
                                  [&](const auto& entry) { return entry.first == job; });
  if (found != recent_.end()) {
    recent_.splice(recent_.begin(), recent_, found);
  } else {
    recent_.emplace_front(job, Memory{});
    if (recent_.size() > remembered_jobs) recent_.pop_back();
  }
  use(recent_.front().second);
}

std::shared_ptr<const FrontSlice> FrontWriter::slice_now(Job& job, FrontHead& head) {
  std::shared_ptr<const FrontSlice> known;
  std::uint64_t version = 0;
  with_memory(job.id(), [&](const Memory& memory) {
    known = memory.now;
    version = memory.version;
  });
  std::shared_ptr<FrontSlice> fresh;
  head = job.with_state([&](JobState& state) {
    if (!known || version != state.front_version()) fresh = slice_of(state);
    return head_of(state);
  });
  if (!is_final(head.status)) head.status = job.status();
  if (!fresh) return known;
  measure(*fresh);
  with_memory(job.id(), [&](Memory& memory) {
    memory.now = fresh;
    memory.version = head.version;
  });
  return fresh;
}

void FrontWriter::look_back(Job& job, const FrontRequest& request, Answer& answer) {
  answer.head = front_head(job);
  const double confidence = request.query.confidence;
  if (confidence == 0) {
    // The past does not change.
    with_memory(job.id(), [&](const Memory& memory) {
      for (const auto& [trial, slice] : memory.earlier) {
        if (trial == *request.at) answer.slice = slice;
      }
    });
    if (answer.slice) return;
  }
  told_.with(job, [&](const ToldColumns& told) {
    const auto found = std::find(told.trials.begin(), told.trials.end(), *request.at);
    const auto at = static_cast<std::size_t>(found - told.trials.begin());
    const std::size_t rows = std::min(told.size(), at + 1);
    if (confidence == 0) {
      answer.slice = slice_of(pooled_for_front(told, rows));
      return;
    }
    PooledPoints pool;
    pool.extend(told, rows);
    answer.slice = slice_of(pool);
    answer.plausible = plausible_points(pool, *answer.slice, confidence);
  });
  with_memory(job.id(), [&](Memory& memory) {
    memory.earlier.emplace_front(*request.at, answer.slice);
    if (memory.earlier.size() > remembered_slices) memory.earlier.pop_back();
  });
}

void FrontWriter::look_around(Job& job, double confidence, Answer& answer) {
  const auto now = [&] {
    answer.slice = slice_now(job, answer.head);
    return static_cast<std::size_t>(answer.head.told);
  };
  told_.with_pool(job, now, [&](const PooledPoints& pool) {
    answer.plausible = plausible_points(pool, *answer.slice, confidence);
  });
}

FrontWriter::Answer FrontWriter::answer(Job& job, const FrontRequest& request) {
  Answer answer;
  const FrontQuery& query = request.query;
  if (request.at) {
    look_back(job, request, answer);
  } else if (query.confidence > 0) {
    look_around(job, query.confidence, answer);
  } else {
    answer.slice = slice_now(job, answer.head);
  }
  const FrontSlice& slice = *answer.slice;
  const auto& objectives = answer.head.spec->objectives;
  answer.allowed = satisfying(slice.points, objectives, query.where);
  answer.shown = thinned(slice.points, answer.allowed, slice.scale, request.limit);
  answer.plausible_allowed = satisfying(answer.plausible.points, objectives, query.where);
  answer.plausible_shown =
      thinned(answer.plausible.points, answer.plausible_allowed, slice.scale, request.limit);
  if (answer.allowed.empty()) return answer;
  if (query.knee) {
    answer.choice = choose_knee(slice.points, answer.allowed, slice.scale);
  } else if (!query.reference_point.empty()) {
    answer.choice = choose_by_reference(slice.points, answer.allowed, slice.scale,
                                        minimised(query.reference_point, objectives));
  } else if (!query.weights.empty()) {
    answer.choice = choose_by_preference(slice.points, answer.allowed, slice.scale, query.weights,
                                         query.method);
  }
  return answer;
}

std::vector<std::string> FrontWriter::texts_of(Job& job, const JobSpec& spec,
                                               const FrontSlice& slice,
                                               const std::vector<std::size_t>& places) {
  std::vector<std::shared_ptr<const std::string>> known(places.size());
  std::vector<std::size_t> fresh;
  with_memory(job.id(), [&](const Memory& memory) {
    for (std::size_t i = 0; i < places.size(); ++i) {
      const auto found = memory.texts.find(slice.trials[places[i]]);
      if (found != memory.texts.end() && found->second.replicates == slice.replicates[places[i]]) {
        known[i] = found->second.text;
      } else {
        fresh.push_back(places[i]);
      }
    }
  });
  std::vector<FrontPoint> points = filled(job, spec, slice, fresh);
  std::vector<std::string> texts;
  texts.reserve(places.size());
  std::size_t next = 0;
  for (auto& text : known) {
    if (!text) {
      std::string written = to_text(point_view(points[next++], spec));
      written.erase(written.size() - 2);  // "}\n"
      text = std::make_shared<const std::string>(std::move(written));
    }
    texts.push_back(*text);
  }
  if (fresh.empty()) return texts;
  with_memory(job.id(), [&](Memory& memory) {
    if (memory.texts.size() + fresh.size() > remembered_texts) memory.texts.clear();
    for (std::size_t i = 0; i < places.size(); ++i) {
      memory.texts[slice.trials[places[i]]] = {slice.replicates[places[i]], known[i]};
    }
  });
  return texts;
}

std::string FrontWriter::json(Job& job, const FrontRequest& request) {
  const Answer answer = this->answer(job, request);
  const JobSpec& spec = *answer.head.spec;
  const FrontSlice& slice = *answer.slice;
  const FrontQuery& query = request.query;
  nlohmann::json document{{"job", job.id()},
                          {"status", name_of(answer.head.status)},
                          {"source", "measured"},
                          {"objectives", to_json(spec.objectives)},
                          {"trials", request.at ? slice.told : answer.head.told},
                          {"front_size", slice.trials.size()},
                          {"ideal", nullptr},
                          {"nadir", nullptr},
                          {"at", nullptr},
                          {"where", nullptr},
                          {"message", ""},
                          {"recommended", nullptr}};
  if (!slice.trials.empty()) {
    document["ideal"] =
        by_objective(flip_signs(slice.scale.ideal, spec.objectives), spec.objectives);
    document["nadir"] =
        by_objective(flip_signs(slice.scale.nadir, spec.objectives), spec.objectives);
  }
  // What the optimizer concluded at its end is no part of an earlier front.
  if (request.at) {
    document["at"] = *request.at;
  } else {
    document["recommended"] = recommended_view(answer.head.report, spec.space);
  }
  std::string message;
  if (!query.where.empty()) {
    document["where"] = {{"constraints", constraint_texts(query, spec.objectives)},
                         {"satisfied", answer.allowed.size()},
                         {"of", slice.trials.size()},
                         {"closest", nullptr}};
    if (answer.allowed.empty()) {
      document["where"]["closest"] = closest_view(slice, query, spec.objectives, message);
    }
  } else if (query.chooses() && answer.allowed.empty()) {
    message = "Nothing has been measured yet, so there is nothing to choose from.";
  }
  document["message"] = message;
  std::string body = to_text(document);
  body.erase(body.size() - 2);  // "}\n"

  const auto crowding = [&](std::size_t place) {
    const double distance = slice.crowding[place];
    return ",\"crowding_distance\":" + (std::isfinite(distance) ? shortest(distance) : "null");
  };
  if (answer.choice) {
    std::string why =
        to_text(why_view(slice, *answer.choice, answer.allowed.size(), query, spec.objectives));
    why.pop_back();
    const std::size_t chosen = answer.choice->chosen;
    body += ",\"chosen\":" + texts_of(job, spec, slice, {chosen})[0] + crowding(chosen) +
            ",\"why\":" + why + "}";
  } else {
    body += ",\"chosen\":null";
  }
  if (query.confidence > 0) {
    body += ",\"plausible\":{\"confidence\":" + shortest(query.confidence) +
            ",\"count\":" + std::to_string(answer.plausible_allowed.size()) + ",\"points\":[";
    const auto texts = texts_of(job, spec, answer.plausible, answer.plausible_shown);
    for (std::size_t i = 0; i < texts.size(); ++i) body += (i > 0 ? "," : "") + texts[i] + "}";
    body += "]}";
  }
  body += ",\"points\":[";
  const auto texts = texts_of(job, spec, slice, answer.shown);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    body += (i > 0 ? "," : "") + texts[i] + crowding(answer.shown[i]) + "}";
  }
  return body + "]}\n";
}

std::string FrontWriter::csv(Job& job, const FrontRequest& request) {
  const Answer answer = this->answer(job, request);
  const JobSpec& spec = *answer.head.spec;
  std::vector<std::size_t> places = answer.shown;
  if (answer.choice) {
    const std::size_t chosen = answer.choice->chosen;
    std::erase(places, chosen);
    if (places.size() == request.limit) places.pop_back();
    places.insert(places.begin(), chosen);
  }
  std::string text = csv_header(spec, request.query);
  const auto write = [&](const FrontSlice& slice, const std::vector<std::size_t>& shown,
                         bool on_front) {
    bool first = on_front;
    for (const FrontPoint& point : filled(job, spec, slice, shown)) {
      text += csv_line(point, spec);
      if (request.query.confidence > 0) text += on_front ? ",1" : ",0";
      if (request.query.chooses()) text += first ? ",1" : ",0";
      text += "\r\n";
      first = false;
    }
  };
  write(*answer.slice, places, true);
  write(answer.plausible, answer.plausible_shown, false);
  return text;
}

}  // namespace paretod
