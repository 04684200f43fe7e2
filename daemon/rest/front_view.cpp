#include "daemon/rest/front_view.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "adapters/json/space_json.hpp"
#include "daemon/rest/json_text.hpp"
#include "daemon/rest/views.hpp"

namespace paretod {
namespace {

constexpr std::size_t remembered_jobs = 16;

/// Needs the job's lock.
FrontHead head_of(JobState& state) {
  return {.status = state.status(),
          .version = state.front_version(),
          .told = state.told_order().size(),
          .size = state.front().size(),
          .report = is_final(state.status()) ? &state.report() : nullptr};
}

nlohmann::json point_view(const FrontPoint& point, const JobSpec& spec) {
  return {{"trial", point.trial},
          {"candidate", candidate_json(spec.space, point.candidate.point)},
          {"objectives", measured_view(point, spec.objectives)},
          {"tag", point.candidate.tag}};
}

/// What the optimizer itself would use, if its report says so.
nlohmann::json recommended_view(const Report* report, const SearchSpace& space) {
  if (report == nullptr || report->rows.empty()) return nullptr;
  nlohmann::json row = report_view(*report, space)["rows"][0];
  row.erase("difference");
  return row;
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == text.npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    quoted += c;
    if (c == '"') quoted += c;
  }
  return quoted + "\"";
}

std::string csv_number(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

std::string csv_cell(const nlohmann::json& value) {
  if (value.is_string()) return csv_field(value.get_ref<const std::string&>());
  if (value.is_number_float()) return csv_number(value.get<double>());
  return value.dump();
}

std::string csv_header(const JobSpec& spec) {
  std::string line = "trial";
  for (const Parameter& parameter : spec.space.parameters()) {
    if (parameter.type != ParameterType::affine) {
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
  return line + "\r\n";
}

std::string csv_line(const FrontPoint& point, const JobSpec& spec) {
  std::string line = std::to_string(point.trial);
  const nlohmann::json candidate = candidate_json(spec.space, point.candidate.point);
  for (const Parameter& parameter : spec.space.parameters()) {
    const nlohmann::json& value = candidate[parameter.name];
    if (!value.is_array()) {
      line += "," + csv_cell(value);
      continue;
    }
    for (const nlohmann::json& item : value) line += "," + csv_cell(item);
  }
  for (const Measurement& measurement : point.objectives) {
    line += "," + csv_number(measurement.value) + ",";
    if (measurement.has_error()) line += csv_number(measurement.standard_error);
  }
  return line + "\r\n";
}

}  // namespace

FrontHead front_head(Job& job) {
  FrontHead head = job.with_state(head_of);
  if (!is_final(head.status)) head.status = job.status();
  return head;
}

std::vector<std::size_t> spread(std::size_t size, std::size_t limit) {
  const std::size_t count = std::min(size, limit);
  std::vector<std::size_t> shown(count);
  for (std::size_t i = 0; i < count; ++i) {
    shown[i] = count > 1 ? i * (size - 1) / (count - 1) : 0;
  }
  return shown;
}

std::shared_ptr<const FrontWriter::Texts> FrontWriter::recall(const std::string& job) {
  const std::lock_guard lock(mutex_);
  for (const auto& [name, texts] : recent_) {
    if (name == job) return texts;
  }
  return std::make_shared<const Texts>();
}

void FrontWriter::remember(const std::string& job, std::shared_ptr<const Texts> texts) {
  const std::lock_guard lock(mutex_);
  recent_.remove_if([&](const auto& entry) { return entry.first == job; });
  recent_.emplace_front(job, std::move(texts));
  if (recent_.size() > remembered_jobs) recent_.pop_back();
}

std::string FrontWriter::json(Job& job, std::size_t limit) {
  const std::shared_ptr<const Texts> known = recall(job.id());
  struct Shown {
    TrialNumber trial;
    Text text;  // without text when `fresh` has the point
  };
  std::vector<Shown> shown;
  std::vector<FrontPoint> fresh;
  const JobSpec& spec = spec_of(job);
  FrontHead head = job.with_state([&](JobState& state) {
    const ParetoArchive& front = state.front();
    for (const std::size_t i : spread(front.size(), limit)) {
      const MeasuredPoint& measured = state.measured()[front.id(i)];
      const auto found = known->find(measured.first_trial);
      if (found != known->end() && found->second.replicates == measured.replicates) {
        shown.push_back({measured.first_trial, found->second});
      } else {
        shown.push_back({measured.first_trial, {measured.replicates, nullptr}});
        fresh.push_back(front_point(state, front.id(i)));
      }
    }
    return head_of(state);
  });
  if (!is_final(head.status)) head.status = job.status();

  std::string points;
  Texts texts;
  std::size_t next_fresh = 0;
  for (Shown& point : shown) {
    if (!point.text.text) {
      std::string text = to_text(point_view(fresh[next_fresh++], spec));
      text.pop_back();
      point.text.text = std::make_shared<const std::string>(std::move(text));
    }
    if (!points.empty()) points += ',';
    points += *point.text.text;
    texts.emplace(point.trial, std::move(point.text));
  }
  if (!fresh.empty() || texts.size() != known->size()) {
    remember(job.id(), std::make_shared<const Texts>(std::move(texts)));
  }
  const nlohmann::json document{{"job", job.id()},
                                {"status", name_of(head.status)},
                                {"source", "measured"},
                                {"objectives", to_json(spec.objectives)},
                                {"trials", head.told},
                                {"front_size", head.size},
                                {"recommended", recommended_view(head.report, spec.space)}};
  std::string body = to_text(document);
  body.erase(body.size() - 2);  // "}\n"
  return body + ",\"points\":[" + points + "]}\n";
}

std::string front_csv(Job& job, std::size_t limit) {
  const JobSpec& spec = spec_of(job);
  const auto points = job.with_state([&](JobState& state) {
    std::vector<FrontPoint> copied;
    const ParetoArchive& front = state.front();
    for (const std::size_t i : spread(front.size(), limit)) {
      copied.push_back(front_point(state, front.id(i)));
    }
    return copied;
  });
  std::string text = csv_header(spec);
  for (const FrontPoint& point : points) text += csv_line(point, spec);
  return text;
}

}  // namespace paretod
