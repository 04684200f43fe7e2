#include "daemon/cli/surrogate_view.hpp"

#include <algorithm>
#include <utility>

#include "daemon/cli/scatter_plot.hpp"
#include "daemon/cli/table.hpp"

namespace paretod::cli {
namespace {

std::string number_text(const Json& object, std::string_view key) {
  const auto value = number_at(object, key);
  return value ? format_number(*value) : "-";
}

/// A mean and its standard deviation.
std::optional<Measured> predicted_at(const Json& entry) {
  const auto mean = number_at(entry, "mean");
  if (!mean) return {};
  return Measured{*mean, number_at(entry, "sd")};
}

void add_wrapped(Lines& out, const std::string& text, const Page& page) {
  const std::size_t columns = page.width == 0 ? 100 : page.width;
  for (std::string& line : wrap(text, columns)) out.push_back(std::move(line));
}

void add_warnings(Lines& out, const Json& reply, const Page& page) {
  if (!at(reply, "warnings").is_array()) return;
  for (const Json& warning : at(reply, "warnings")) {
    if (!warning.is_string()) continue;
    add_wrapped(out, "note: " + printable(warning.get_ref<const std::string&>()), page);
  }
}

std::string signs_text(const Json& model) {
  std::string text = text_at(model, "curvature");
  const Json& values = at(model, "eigenvalues");
  if (!values.is_array() || values.empty()) return text;
  const auto negative = std::count_if(values.begin(), values.end(), [](const Json& value) {
    return value.is_number() && value.get<double>() < 0;
  });
  return text + " (" + std::to_string(values.size() - static_cast<std::size_t>(negative)) + "+ " +
         std::to_string(negative) + "-)";
}

Table models_table(const Json& objectives) {
  Table table;
  std::vector<std::string> names;
  std::vector<std::string> links;
  std::vector<std::string> forms;
  std::vector<std::string> r2;
  std::vector<std::string> errors;
  std::vector<std::string> signs;
  std::vector<std::optional<Measured>> best;
  std::vector<std::string> where;
  for (const Json& model : objectives) {
    names.push_back(text_at(model, "name") +
                    (text_at(model, "goal") == "maximize" ? " (max)" : " (min)"));
    links.push_back(text_at(model, "link"));
    forms.push_back(text_at(model, "form") + ", " + std::to_string(count_at(model, "terms")) +
                    " of " + std::to_string(count_at(model, "wanted_terms")));
    r2.push_back(number_text(model, "loo_r2"));
    errors.push_back(number_text(model, "loo_rmse"));
    signs.push_back(signs_text(model));
    best.push_back(predicted_at(at(model, "best")));
    where.push_back(candidate_text(at(at(model, "best"), "candidate")));
  }
  table.add_column("objective", std::move(names));
  table.add_column("link", std::move(links));
  table.add_column("form", std::move(forms));
  table.add_column("R2 (left out)", std::move(r2), Table::Align::right);
  table.add_column("error (left out)", std::move(errors), Table::Align::right);
  table.add_column("curvature", std::move(signs));
  table.add_column("predicted best", format_column(best), Table::Align::right);
  table.add_column("at", std::move(where));
  return table;
}

void append(Lines& out, Lines more) {
  for (std::string& line : more) out.push_back(std::move(line));
}

/// `limit` of them, both ends included; 0: all.
std::vector<const Json*> spread(const Json& points, std::size_t limit) {
  std::vector<const Json*> chosen;
  const std::size_t size = points.is_array() ? points.size() : 0;
  const std::size_t shown = limit == 0 ? size : std::min(limit, size);
  for (std::size_t i = 0; i < shown; ++i) {
    chosen.push_back(&points[shown == 1 ? 0 : i * (size - 1) / (shown - 1)]);
  }
  return chosen;
}

std::string nearest_text(const Json& point) {
  const Json& nearest = at(point, "nearest");
  if (!nearest.is_object()) return "-";
  return std::to_string(count_at(nearest, "trial")) + " (" + number_text(nearest, "distance") +
         " away)";
}

Table predicted_table(const std::vector<const Json*>& points, const Json& objectives) {
  Table table;
  for (const std::string& name : names_of(objectives)) {
    std::vector<std::optional<Measured>> column;
    for (const Json* point : points)
      column.push_back(predicted_at(at(at(*point, "objectives"), name)));
    table.add_column(name + (maximised(objectives, name) ? " (max)" : " (min)"),
                     format_column(column), Table::Align::right);
  }
  std::vector<std::string> nearest;
  std::vector<std::string> candidates;
  for (const Json* point : points) {
    nearest.push_back(nearest_text(*point));
    candidates.push_back(candidate_text(at(*point, "candidate")) +
                         (at(*point, "extrapolated") == true ? "  (extrapolated)" : ""));
  }
  table.add_column("nearest trial", std::move(nearest), Table::Align::right);
  table.add_column("candidate", std::move(candidates));
  return table;
}

Lines picture(const Json& predicted, const Json& measured, std::size_t width) {
  const auto names = names_of(at(predicted, "objectives"));
  std::vector<PlotPoint> points;
  const auto add = [&](const Json& values, std::string_view key, bool marked, bool is_predicted) {
    const auto x = number_at(at(values, names[0]), key);
    const auto y = number_at(at(values, names[1]), key);
    if (x && y) points.push_back({*x, *y, marked, is_predicted});
  };
  for (const Json& point : at(predicted, "points"))
    add(at(point, "objectives"), "mean", false, true);
  if (at(measured, "points").is_array()) {
    for (const Json& point : at(measured, "points")) {
      add(at(point, "objectives"), "value", false, false);
    }
  }
  const Json& chosen = at(predicted, "chosen");
  if (chosen.is_object()) add(at(chosen, "objectives"), "mean", true, true);
  Lines lines = scatter_plot(points, names[0], names[1], width, plot_height);
  if (!lines.empty()) {
    lines.push_back(cut(
        "○ predicted  • measured" + std::string(chosen.is_object() ? "  ◆ chosen" : ""), width));
  }
  return lines;
}

std::string heading(const Json& front) {
  std::string text = text_at(front, "job") + " (" + text_at(front, "status") +
                     "): predicted front of " + plural(count_at(front, "front_size"), "point") +
                     ", from " + plural(count_at(front, "trials"), "trial");
  const std::string verdict = text_at(front, "verdict");
  if (!verdict.empty()) text += "; " + verdict;
  const Json& where = at(front, "where");
  if (where.is_object()) {
    text += "; " + std::to_string(count_at(where, "satisfied")) + " meet the constraints";
  }
  return text;
}

}  // namespace

Lines surrogate_view(const Json& surrogate, const Page& page) {
  Lines out = {text_at(surrogate, "job") + ": surrogate fitted by " +
               text_at(surrogate, "optimizer") + " to " +
               plural(count_at(surrogate, "observations"), "measured point")};
  const auto infeasible = count_at(surrogate, "infeasible");
  if (infeasible > 0) out[0] += " (" + std::to_string(infeasible) + " could not be measured)";
  out.emplace_back();
  append(out, models_table(at(surrogate, "objectives")).lines(page.width));
  out.emplace_back();
  const std::string verdict = text_at(surrogate, "verdict");
  const std::string reason = text_at(surrogate, "verdict_reason");
  add_wrapped(out, "verdict: " + verdict + (reason.empty() ? "" : ": " + reason), page);
  if (verdict == "unclear") {
    out.push_back("         paretod verify " + text_at(surrogate, "job") +
                  " --count N has N points measured");
  }
  if (at(surrogate, "coordinates").is_array()) {
    std::string box;
    for (const Json& c : at(surrogate, "coordinates")) {
      box += (box.empty() ? "" : ", ") + text_at(c, "name") + " " + number_text(c, "sampled_low") +
             ".." + number_text(c, "sampled_high");
    }
    add_wrapped(out, "sampled: " + box, page);
  }
  add_warnings(out, surrogate, page);
  return out;
}

Lines predicted_front_view(const Json& predicted, const Json& measured, std::size_t limit,
                           const Page& page) {
  const Json& objectives = at(predicted, "objectives");
  Lines out;
  add_wrapped(out, heading(predicted), page);
  out.emplace_back();
  const Json& chosen = at(predicted, "chosen");
  if (chosen.is_object()) {
    std::string text = "chosen (predicted):";
    for (const std::string& name : names_of(objectives)) {
      if (const auto value = predicted_at(at(at(chosen, "objectives"), name))) {
        text += " " + name + " " + format_measured(*value);
      }
    }
    out.push_back(std::move(text));
    out.push_back("        " + candidate_text(at(chosen, "candidate")));
    add_wrapped(out, text_at(at(chosen, "why"), "sentence"), page);
    out.emplace_back();
  }
  const std::string message = text_at(predicted, "message");
  if (!message.empty()) {
    add_wrapped(out, message, page);
    out.emplace_back();
  }
  const auto shown = spread(at(predicted, "points"), limit);
  if (!shown.empty()) {
    const Table table = predicted_table(shown, objectives);
    const bool draw = page.picture && objectives.size() == 2 && at(predicted, "points").size() > 1;
    if (draw && page.width >= least_table_beside_plot + plot_gap + plot_width) {
      append(out, beside(table.lines(page.width - plot_gap - plot_width),
                         picture(predicted, measured, plot_width)));
    } else {
      append(out, table.lines(page.width));
      if (draw) {
        out.emplace_back();
        append(out, picture(predicted, measured, std::min<std::size_t>(page.width, 72)));
      }
    }
    const std::size_t all = at(predicted, "points").size();
    if (shown.size() < all) {
      out.push_back("(" + std::to_string(shown.size()) + " of " + format_count(all) +
                    " points, spread evenly; --limit 0 shows all)");
    }
  }
  add_warnings(out, predicted, page);
  return out;
}

Lines verified_view(const Json& verification, const std::vector<Json>& measured, const Page& page) {
  const Json& trials = at(verification, "trials");
  if (!trials.is_array() || trials.empty()) return {};
  const auto known = [&](const Json& trial) -> const Json* {
    for (const Json& one : measured) {
      if (count_at(one, "number") == count_at(trial, "trial")) return &one;
    }
    return nullptr;
  };
  std::vector<std::string> names;
  for (const Json& trial : trials) {
    if (!at(trial, "predicted").is_object()) continue;
    for (const auto& [name, value] : at(trial, "predicted").items()) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  for (const Json& one : measured) {
    if (!at(at(one, "outcome"), "objectives").is_object()) continue;
    for (const auto& [name, value] : at(at(one, "outcome"), "objectives").items()) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  Table table;
  std::vector<std::string> numbers;
  std::vector<std::string> statuses;
  std::vector<std::string> candidates;
  for (const Json& trial : trials) {
    const Json* one = known(trial);
    numbers.push_back(std::to_string(count_at(trial, "trial")));
    statuses.push_back(one == nullptr ? "asked" : text_at(*one, "status"));
    candidates.push_back(candidate_text(at(trial, "candidate")));
  }
  table.add_column("trial", std::move(numbers), Table::Align::right);
  table.add_column("status", std::move(statuses));
  for (const std::string& name : names) {
    std::vector<std::optional<Measured>> predictions;
    std::vector<std::optional<Measured>> values;
    for (const Json& trial : trials) {
      const Json* one = known(trial);
      predictions.push_back(predicted_at(at(at(trial, "predicted"), name)));
      values.push_back(one == nullptr
                           ? std::nullopt
                           : measured_at(at(at(at(*one, "outcome"), "objectives"), name), "value"));
    }
    table.add_column(printable(name) + " predicted", format_column(predictions),
                     Table::Align::right);
    if (!measured.empty()) {
      table.add_column("measured", format_column(values), Table::Align::right);
    }
  }
  table.add_column("candidate", std::move(candidates));
  Lines out = table.lines(page.width);
  const std::uint64_t fidelity = count_at(trials[0], "fidelity");
  out.push_back(fidelity > 0 ? "evaluated at fidelity " + format_count(fidelity)
                             : "evaluated at the evaluator's usual fidelity");
  return out;
}

}  // namespace paretod::cli
