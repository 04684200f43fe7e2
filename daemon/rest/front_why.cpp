#include "daemon/rest/front_why.hpp"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "daemon/rest/front_slice.hpp"
#include "daemon/rest/views.hpp"

namespace paretod {
namespace {

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

}  // namespace

std::vector<std::string> constraint_texts(const FrontQuery& query,
                                          const std::vector<Objective>& objectives) {
  std::vector<std::string> texts;
  for (const FrontConstraint& each : query.where) texts.push_back(text_of(each, objectives));
  return texts;
}

std::vector<std::optional<double>> minimised(std::vector<std::optional<double>> values,
                                             const std::vector<Objective>& objectives) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] && objectives[i].goal == Goal::maximize) values[i] = -*values[i];
  }
  return values;
}

nlohmann::json why_view(const FrontSlice& slice, const Choice& choice, std::size_t allowed,
                        const FrontQuery& query, const std::vector<Objective>& objectives) {
  nlohmann::json why{{"method", name_of(query.method)},
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

nlohmann::json closest_view(const FrontSlice& slice, const FrontQuery& query,
                            const std::vector<Objective>& objectives, std::string& message) {
  const std::string wanted = joined(constraint_texts(query, objectives));
  if (slice.trials.empty()) {
    message = "Nothing has been measured yet, so no point has " + wanted + ".";
    return nullptr;
  }
  const std::size_t place = closest_to(slice.points, objectives, slice.scale, query.where);
  nlohmann::json misses = nlohmann::json::array();
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

}  // namespace paretod
