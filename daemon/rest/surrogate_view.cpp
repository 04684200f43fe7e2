#include "daemon/rest/surrogate_view.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "adapters/json/space_json.hpp"
#include "daemon/rest/views.hpp"

namespace paretod {
namespace {

using nlohmann::json;

/// "alpha[3]" for the coordinates of a parameter that has several.
std::vector<std::string> coordinate_names(const SearchSpace& space) {
  std::vector<std::string> names;
  const auto& parameters = space.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    for (std::size_t k = 0; k < space.width(i); ++k) {
      names.push_back(parameters[i].name +
                      (space.width(i) == 1 ? "" : "[" + std::to_string(k) + "]"));
    }
  }
  return names;
}

json coordinates_view(const SurrogateSummary& summary, const SearchSpace& space) {
  json view = json::array();
  const auto names = coordinate_names(space);
  for (std::size_t i = 0; i < names.size(); ++i) {
    view.push_back({{"name", names[i]},
                    {"low", summary.low[i]},
                    {"high", summary.high[i]},
                    {"log", static_cast<bool>(summary.log_scale[i])},
                    {"sampled_low", summary.sampled_low[i]},
                    {"sampled_high", summary.sampled_high[i]}});
  }
  return view;
}

/// What the signs of the eigenvalues say of the linked metric; beside the largest, what is tiny
/// counts as none.
std::string curvature(const std::vector<double>& eigenvalues) {
  double largest = 0;
  for (const double value : eigenvalues) largest = std::max(largest, std::abs(value));
  bool up = false;
  bool down = false;
  for (const double value : eigenvalues) {
    if (std::abs(value) <= 1e-6 * largest) continue;
    (value > 0 ? up : down) = true;
  }
  if (up && down) return "saddle";
  if (up) return "bowl";
  return down ? "hill" : "flat";
}

json model_view(const ObjectiveModel& model, const Objective& objective, const SearchSpace& space) {
  const std::size_t n = model.linear.size();
  json quadratic = json::array();
  for (std::size_t i = 0; i < n; ++i) {
    quadratic.push_back(
        std::vector<double>(model.quadratic.begin() + static_cast<long>(i * n),
                            model.quadratic.begin() + static_cast<long>(i * n + n)));
  }
  json view{{"name", objective.name},
            {"goal", objective.goal == Goal::maximize ? "maximize" : "minimize"},
            {"link", model.link},
            {"form", model.form},
            {"constant", model.constant},
            {"linear", model.linear},
            {"quadratic", std::move(quadratic)},
            {"eigenvalues", model.eigenvalues},
            {"curvature", curvature(model.eigenvalues)},
            {"observations", model.observations},
            {"terms", model.terms},
            {"wanted_terms", model.wanted_terms},
            {"rank", model.rank},
            {"condition", model.condition},
            {"leverage", model.leverage},
            {"degrees_of_freedom", model.degrees_of_freedom},
            {"penalty", model.penalty},
            {"r2", model.r2},
            {"loo_r2", model.loo_r2},
            {"loo_rmse", model.loo_rmse},
            {"best",
             {{"candidate", candidate_json(space, model.best)},
              {"mean", model.best_mean},
              {"sd", model.best_deviation}}}};
  if (model.link != "identity") view["low"] = model.low;
  if (model.link == "logit") view["high"] = model.high;
  return view;
}

}  // namespace

json surrogate_view(const std::string& job, const JobSpec& spec, const JobSurrogate& surrogate) {
  const SurrogateSummary& summary = surrogate.model->summary();
  json objectives = json::array();
  for (std::size_t i = 0; i < spec.objectives.size(); ++i) {
    objectives.push_back(model_view(summary.objectives[i], spec.objectives[i], spec.space));
  }
  return {{"job", job},
          {"source", "predicted"},
          {"optimizer", spec.optimizer},
          {"trials", surrogate.told},
          {"observations", summary.observations},
          {"infeasible", summary.infeasible},
          {"formula",
           "metric = inverse link of eta(x); eta(x) = constant + linear'x + x'quadratic x / 2"},
          {"scaling", summary.scaling},
          {"coordinates", coordinates_view(summary, spec.space)},
          {"objectives", std::move(objectives)},
          {"ideal", by_objective(summary.ideal, spec.objectives)},
          {"nadir", by_objective(summary.nadir, spec.objectives)},
          {"verdict", summary.verdict},
          {"verdict_reason", summary.verdict_reason},
          {"warnings", summary.warnings}};
}

}  // namespace paretod
