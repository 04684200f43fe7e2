#include "daemon/rest/front_view.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "adapters/json/space_json.hpp"
#include "daemon/rest/front_csv.hpp"
#include "daemon/rest/front_why.hpp"
#include "daemon/rest/json_text.hpp"
#include "daemon/rest/views.hpp"

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
    answer.plausible = PlausiblePoints().find(pool, *answer.slice, confidence);
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
  std::shared_ptr<PlausiblePoints> plausible;
  with_memory(job.id(), [&](const Memory& memory) { plausible = memory.plausible; });
  told_.with_pool(job, now, [&](const PooledPoints& pool) {
    answer.plausible = plausible->find(pool, *answer.slice, confidence);
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
