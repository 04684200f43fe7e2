#include "daemon/rest/predicted_front.hpp"

#include <cstdio>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "adapters/json/space_json.hpp"
#include "daemon/rest/front_csv.hpp"
#include "daemon/rest/front_why.hpp"
#include "daemon/rest/json_text.hpp"
#include "daemon/rest/snapshot.hpp"
#include "daemon/rest/views.hpp"

namespace paretod {
namespace {

using nlohmann::json;

std::string number_text(double value) {
  char text[32];
  const int size = std::snprintf(text, sizeof text, "%.4g", value);
  return {text, static_cast<std::size_t>(size)};
}

/// An answer before it is written.
struct Answer {
  const JobSpec* spec = nullptr;
  JobStatus status = JobStatus::queued;
  std::vector<PredictedPoint> points;  ///< at most `limit` of those that meet the constraints
  std::size_t front_size = 0;
  std::size_t satisfied = 0;               ///< all that meet the constraints
  std::optional<SurrogateAnswer> chosen;   ///< meets the constraints
  std::optional<SurrogateAnswer> closest;  ///< if nothing does
  std::map<TrialNumber, FrontPoint> nearest;
};

bool meets(const PredictedPoint& point, const std::vector<FrontConstraint>& where) {
  for (const FrontConstraint& each : where) {
    if (!each.holds(point.means[each.objective])) return false;
  }
  return true;
}

void look_up_nearest(Job& job, Answer& answer) {
  std::vector<TrialNumber> wanted;
  for (const PredictedPoint& point : answer.points) wanted.push_back(point.nearest_trial);
  for (const auto* extra : {&answer.chosen, &answer.closest}) {
    if (*extra) wanted.push_back((*extra)->point.nearest_trial);
  }
  job.with_state([&](JobState& state) {
    for (const TrialNumber number : wanted) {
      if (number < 1 || number > state.trials().size()) continue;
      const TrialRecord& record = state.trials()[number - 1];
      if (!record.outcome) continue;
      answer.nearest.try_emplace(
          number, FrontPoint{number, 1, record.candidate, record.outcome->objectives});
    }
  });
}

/// To `limit` of them, evenly and with both ends.
void thin(std::vector<PredictedPoint>& points, std::size_t limit) {
  if (points.size() <= limit) return;
  std::vector<PredictedPoint> kept;
  for (std::size_t i = 0; i < limit; ++i) {
    const std::size_t place = limit == 1 ? 0 : i * (points.size() - 1) / (limit - 1);
    kept.push_back(std::move(points[place]));
  }
  points = std::move(kept);
}

Answer answer_of(Job& job, const JobSurrogate& surrogate, const FrontQuery& query,
                 std::size_t limit) {
  Answer answer;
  answer.spec = &spec_of(job);
  answer.status = job.status();
  answer.points = surrogate.model->front(std::numeric_limits<std::size_t>::max());
  answer.front_size = answer.points.size();
  std::erase_if(answer.points, [&](const auto& point) { return !meets(point, query.where); });
  answer.satisfied = answer.points.size();
  if (answer.satisfied == answer.front_size) {
    if (limit < answer.front_size) answer.points = surrogate.model->front(limit);
  } else {
    thin(answer.points, limit);
  }
  if (query.chooses() || (!query.where.empty() && answer.points.empty())) {
    SurrogateAnswer solved = surrogate.model->solve(surrogate_query(query));
    if (solved.miss > 0) {
      answer.closest = std::move(solved);
    } else if (query.chooses()) {
      answer.chosen = std::move(solved);
    }
  }
  look_up_nearest(job, answer);
  return answer;
}

json nearest_view(const PredictedPoint& point, const Answer& answer) {
  const auto found = answer.nearest.find(point.nearest_trial);
  if (found == answer.nearest.end()) return nullptr;
  return {{"trial", point.nearest_trial},
          {"distance", point.nearest_distance},
          {"objectives", measured_view(found->second, answer.spec->objectives)}};
}

json point_view(const PredictedPoint& point, const Answer& answer) {
  return {{"predicted", true},
          {"candidate", candidate_json(answer.spec->space, point.point)},
          {"objectives", predicted_objectives(point, answer.spec->objectives)},
          {"nearest", nearest_view(point, answer)},
          {"feasibility", point.feasibility},
          {"extrapolated", point.extrapolated}};
}

std::string values_text(const PredictedPoint& point, const std::vector<Objective>& objectives) {
  std::string text;
  for (std::size_t i = 0; i < objectives.size(); ++i) {
    text += (i > 0 ? ", " : "") + objectives[i].name + " " + number_text(point.means[i]) + " ± " +
            number_text(point.deviations[i]);
  }
  return text;
}

std::string sentence_of(const SurrogateAnswer& solved, const FrontQuery& query,
                        const std::vector<Objective>& objectives) {
  std::string text = "Predicted: ";
  if (query.knee) {
    text += "the smallest sum of the scaled objectives with equal weights, ";
  } else if (!query.reference_point.empty()) {
    text += "the smallest achievement with respect to the reference point (0 would reach it), ";
  } else if (query.method == PreferenceMethod::chebyshev) {
    text += "the smallest augmented Chebyshev distance to the predicted ideal, ";
  } else {
    text += "the smallest weighted sum of the scaled objectives, ";
  }
  text += number_text(solved.value) + ", at " + values_text(solved.point, objectives) +
          " (standard deviation of a measurement); the nearest measured point is trial " +
          std::to_string(solved.point.nearest_trial) + ", " +
          number_text(solved.point.nearest_distance) + " of the sampled box away";
  if (solved.point.extrapolated) text += "; it lies outside what was sampled";
  return text + ".";
}

json why_view(const SurrogateAnswer& solved, const FrontQuery& query,
              const std::vector<Objective>& objectives) {
  json why{{"method", name_of(query.method)},
           {"value", solved.value},
           {"sentence", sentence_of(solved, query, objectives)}};
  if (query.knee) {
    why["method"] = "knee";
  } else if (!query.reference_point.empty()) {
    why["method"] = "reference_point";
    for (std::size_t i = 0; i < objectives.size(); ++i) {
      if (!query.reference_point[i]) continue;
      why["reference_point"][objectives[i].name] = *query.reference_point[i];
    }
  } else {
    why["weights"] = by_objective(query.weights, objectives);
  }
  return why;
}

json where_view(const Answer& answer, const FrontQuery& query) {
  if (query.where.empty()) return nullptr;
  json view{{"constraints", constraint_texts(query, answer.spec->objectives)},
            {"satisfied", answer.satisfied},
            {"of", answer.front_size},
            {"closest", nullptr}};
  if (answer.closest) view["closest"] = point_view(answer.closest->point, answer);
  return view;
}

std::string message_of(const Answer& answer, const FrontQuery& query) {
  if (!answer.closest) return "";
  std::string wanted;
  for (const std::string& text : constraint_texts(query, answer.spec->objectives)) {
    wanted += (wanted.empty() ? "" : " and ") + text;
  }
  return "No predicted point has " + wanted + "; the closest is predicted at " +
         values_text(answer.closest->point, answer.spec->objectives) + ".";
}

}  // namespace

SurrogateQuery surrogate_query(const FrontQuery& query) {
  SurrogateQuery wanted;
  wanted.weights = query.weights;
  wanted.weighted_sum = query.method == PreferenceMethod::weighted_sum;
  wanted.reference_point = query.reference_point;
  for (const FrontConstraint& each : query.where) {
    SurrogateQuery::Bound bound{each.objective};
    const bool at_least =
        each.comparison == Comparison::at_least || each.comparison == Comparison::greater;
    const bool equal = each.comparison == Comparison::equal;
    if (at_least || equal) bound.least = each.bound;
    if (!at_least || equal) bound.most = each.bound;
    wanted.bounds.push_back(bound);
  }
  return wanted;
}

json predicted_objectives(const PredictedPoint& point, const std::vector<Objective>& objectives) {
  json view = json::object();
  for (std::size_t i = 0; i < objectives.size(); ++i) {
    view[objectives[i].name] = {{"mean", point.means[i]},
                                {"sd", point.deviations[i]},
                                {"sd_mean", point.mean_deviations[i]}};
  }
  return view;
}

std::string predicted_json(Job& job, const JobSurrogate& surrogate, const FrontQuery& query,
                           std::size_t limit) {
  const Answer answer = answer_of(job, surrogate, query, limit);
  const SurrogateSummary& summary = surrogate.model->summary();
  const auto& objectives = answer.spec->objectives;
  json document{{"job", job.id()},
                {"status", name_of(answer.status)},
                {"source", "predicted"},
                {"objectives", to_json(objectives)},
                {"trials", surrogate.told},
                {"front_size", answer.front_size},
                {"ideal", by_objective(summary.ideal, objectives)},
                {"nadir", by_objective(summary.nadir, objectives)},
                {"verdict", summary.verdict},
                {"warnings", summary.warnings},
                {"where", where_view(answer, query)},
                {"message", message_of(answer, query)},
                {"chosen", nullptr},
                {"points", json::array()}};
  if (answer.chosen) {
    document["chosen"] = point_view(answer.chosen->point, answer);
    document["chosen"]["why"] = why_view(*answer.chosen, query, objectives);
  }
  for (const PredictedPoint& point : answer.points) {
    document["points"].push_back(point_view(point, answer));
  }
  return to_text(document);
}

std::string predicted_csv(Job& job, const JobSurrogate& surrogate, const FrontQuery& query,
                          std::size_t limit) {
  const Answer answer = answer_of(job, surrogate, query, limit);
  const JobSpec& spec = *answer.spec;
  std::string text = "source" + csv_parameter_names(spec.space);
  for (const Objective& objective : spec.objectives) {
    text += "," + csv_field(objective.name) + "," + csv_field(objective.name + "_sd") + "," +
            csv_field(objective.name + "_sd_mean");
  }
  text += ",nearest_trial,nearest_distance,feasibility,extrapolated";
  if (query.chooses()) text += ",chosen";
  text += "\r\n";
  const auto write = [&](const PredictedPoint& point, bool chosen) {
    text += "predicted" + csv_parameters(spec.space, point.point);
    for (std::size_t i = 0; i < spec.objectives.size(); ++i) {
      text += "," + shortest(point.means[i]) + "," + shortest(point.deviations[i]) + "," +
              shortest(point.mean_deviations[i]);
    }
    text += "," + std::to_string(point.nearest_trial) + "," + shortest(point.nearest_distance) +
            "," + shortest(point.feasibility) + (point.extrapolated ? ",1" : ",0");
    if (query.chooses()) text += chosen ? ",1" : ",0";
    text += "\r\n";
  };
  if (answer.chosen) write(answer.chosen->point, true);
  for (const PredictedPoint& point : answer.points) write(point, false);
  return text;
}

}  // namespace paretod
