#include "daemon/cli/result_view.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "daemon/cli/scatter_plot.hpp"
#include "daemon/cli/table.hpp"

namespace paretod::cli {
namespace {

constexpr std::size_t longest_spelled_vector = 4;
constexpr std::size_t longest_spelled_schedule = 10;
constexpr std::size_t most_parameters = 8;

std::string scalar_text(const Json& value) {
  if (value.is_number_integer()) return value.dump();
  if (value.is_number()) return format_number(value.get<double>());
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_string()) return printable(value.get_ref<const std::string&>());
  return "?";
}

/// Steps of a schedule that carry something: "149 332(-2) 510/plms": at 332 two layers are dropped.
std::string steps_text(const Json& steps) {
  std::string text;
  const std::size_t shown = std::min(steps.size(), longest_spelled_schedule);
  for (std::size_t i = 0; i < shown; ++i) {
    const Json& step = steps[i];
    text += (i > 0 ? " " : "") + scalar_text(at(step, "at"));
    if (step.contains("choice")) text += "/" + scalar_text(at(step, "choice"));
    const Json& mask = at(step, "mask");
    if (!mask.empty()) text += "(-" + std::to_string(mask.size()) + ")";
  }
  if (shown < steps.size()) text += " … " + std::to_string(steps.size()) + " in all";
  return text;
}

std::string vector_text(const Json& values) {
  if (!values.empty() && values[0].is_object()) return steps_text(values);
  const bool numbers = std::all_of(values.begin(), values.end(),
                                   [](const Json& value) { return value.is_number(); });
  if (!numbers || values.size() <= longest_spelled_vector) {
    std::string text = "(";
    const std::size_t shown = std::min(values.size(), longest_spelled_vector);
    for (std::size_t i = 0; i < shown; ++i) text += (i > 0 ? ", " : "") + scalar_text(values[i]);
    if (shown < values.size()) text += ", … " + std::to_string(values.size()) + " in all";
    return text + ")";
  }
  double low = values[0].get<double>();
  double high = low;
  bool whole = true;
  for (const Json& value : values) {
    low = std::min(low, value.get<double>());
    high = std::max(high, value.get<double>());
    whole = whole && value.is_number_integer();
  }
  if (whole) {
    return std::to_string(values.size()) + " values, " + format_number(low) + ".." +
           format_number(high);
  }
  const bool tiny = std::max(std::abs(low), std::abs(high)) < 0.05;
  const auto text = [tiny](double value) {
    return tiny ? format_number(value) : format_fixed(value, 2);
  };
  return std::to_string(values.size()) + " coefficients, " + text(low) + ".." + text(high);
}

/// Best first by the first objective.
std::vector<const Json*> sorted_points(const Json& front) {
  std::vector<const Json*> points;
  if (!at(front, "points").is_array()) return points;
  for (const Json& point : at(front, "points")) points.push_back(&point);
  const auto names = names_of(at(front, "objectives"));
  if (names.empty()) return points;
  const double sign = maximised(at(front, "objectives"), names[0]) ? -1 : 1;
  const auto key = [&](const Json* point) {
    return sign * number_at(at(at(*point, "objectives"), names[0]), "value").value_or(0);
  };
  std::stable_sort(points.begin(), points.end(),
                   [&](const Json* a, const Json* b) { return key(a) < key(b); });
  return points;
}

/// `limit` of them, both ends included.
std::vector<const Json*> spread(const std::vector<const Json*>& points, std::size_t limit) {
  if (limit == 0 || points.size() <= limit) return points;
  std::vector<const Json*> chosen;
  for (std::size_t i = 0; i < limit; ++i) {
    chosen.push_back(points[limit == 1 ? 0 : i * (points.size() - 1) / (limit - 1)]);
  }
  return chosen;
}

Table front_table(const std::vector<const Json*>& points, const Json& objectives) {
  Table table;
  std::vector<std::string> trials;
  std::vector<std::string> candidates;
  std::vector<std::string> replicates;
  bool repeated = false;
  for (const Json* point : points) {
    // The same for all objectives.
    const Json& measured = at(*point, "objectives");
    const std::uint64_t count =
        measured.empty() ? 0 : count_at(measured.begin().value(), "replicates");
    repeated = repeated || count > 1;
    replicates.push_back(std::to_string(count));
    trials.push_back(std::to_string(count_at(*point, "trial")));
    candidates.push_back(candidate_text(at(*point, "candidate")));
  }
  table.add_column("trial", std::move(trials), Table::Align::right);
  for (const std::string& name : names_of(objectives)) {
    std::vector<std::optional<Measured>> column;
    for (const Json* point : points) {
      column.push_back(measured_at(at(at(*point, "objectives"), name), "value"));
    }
    table.add_column(name + (maximised(objectives, name) ? " (max)" : " (min)"),
                     format_column(column), Table::Align::right);
  }
  if (repeated) table.add_column("measured", std::move(replicates), Table::Align::right);
  table.add_column("candidate", std::move(candidates));
  return table;
}

Lines picture(const Json& front, std::size_t width) {
  const auto names = names_of(at(front, "objectives"));
  std::vector<PlotPoint> points;
  const auto add = [&](const Json& values, std::string_view key, bool marked) {
    const auto x = number_at(at(values, names[0]), key);
    const auto y = number_at(at(values, names[1]), key);
    if (x && y) points.push_back({*x, *y, marked});
  };
  for (const Json& point : at(front, "points")) add(at(point, "objectives"), "value", false);
  const Json& chosen = at(front, "chosen");
  if (chosen.is_object()) {
    add(at(chosen, "objectives"), "value", true);
  } else {
    add(at(at(front, "recommended"), "estimates"), "mean", true);
  }
  return scatter_plot(points, names[0], names[1], width, plot_height);
}

std::string front_heading(const Json& front, std::size_t points) {
  const bool single = at(front, "objectives").size() == 1;
  std::string text = text_at(front, "job");
  const std::string status = text_at(front, "status");
  if (!status.empty()) text += " (" + status + ")";
  text += single ? ": best point" : ": front of " + plural(points, "point");
  text += " after " + plural(count_at(front, "trials"), "trial");
  if (at(front, "at").is_number()) text += ", as of trial " + std::to_string(count_at(front, "at"));
  const Json& where = at(front, "where");
  if (!where.is_object() || !at(where, "constraints").is_array()) return text;
  text += "; " + std::to_string(count_at(where, "satisfied")) + " with ";
  bool first = true;
  for (const Json& constraint : at(where, "constraints")) {
    if (!std::exchange(first, false)) text += ", ";
    if (constraint.is_string()) text += printable(constraint.get_ref<const std::string&>());
  }
  return text;
}

std::string recommended_line(const Json& recommended) {
  std::string text = "recommended: " + text_at(recommended, "name") + ", trial " +
                     std::to_string(count_at(recommended, "trial"));
  const Json& estimates = at(recommended, "estimates");
  if (!estimates.is_object()) return text;
  for (const auto& [name, estimate] : estimates.items()) {
    if (const auto mean = measured_at(estimate, "mean")) {
      text += ", " + printable(name) + " " + format_measured(*mean);
    }
  }
  return text;
}

/// The chosen point and why, then what may be said beside the table.
Lines answer_lines(const Json& front, std::size_t width) {
  Lines out;
  const std::size_t columns = width == 0 ? 100 : width;
  const auto add_text = [&](const std::string& text) {
    for (std::string& line : wrap(text, columns)) out.push_back(std::move(line));
  };
  const Json& chosen = at(front, "chosen");
  if (chosen.is_object()) {
    std::string text = "chosen: trial " + std::to_string(count_at(chosen, "trial"));
    for (const std::string& name : names_of(at(front, "objectives"))) {
      const Json& entry = at(at(chosen, "objectives"), name);
      const auto measured = measured_at(entry, "value");
      if (!measured) continue;
      text += ", " + name + " " + format_measured(*measured);
      const auto replicates = count_at(entry, "replicates");
      if (replicates > 1) text += " (" + std::to_string(replicates) + " replicates)";
    }
    out.push_back(std::move(text));
    out.push_back(cut("        " + candidate_text(at(chosen, "candidate")), columns));
    add_text(text_at(at(chosen, "why"), "sentence"));
    out.emplace_back();
  }
  const std::string message = text_at(front, "message");
  if (!message.empty()) {
    add_text(message);
    out.emplace_back();
  }
  return out;
}

Lines plausible_lines(const Json& front, std::size_t limit, std::size_t width) {
  const Json& plausible = at(front, "plausible");
  if (!plausible.is_object()) return {};
  const std::string percent =
      format_number(100 * number_at(plausible, "confidence").value_or(0)) + "%";
  const std::size_t count = count_at(plausible, "count");
  if (count == 0) {
    return {"", "every other point is dominated with a confidence of " + percent};
  }
  std::vector<const Json*> points;
  if (at(plausible, "points").is_array()) {
    for (const Json& point : at(plausible, "points")) points.push_back(&point);
  }
  const auto shown = spread(points, limit);
  Lines out = {
      "", plural(count, "more point") + " that nothing dominates with a confidence of " + percent +
              (shown.size() < count ? ", of which " + std::to_string(shown.size()) + " are shown"
                                    : "") +
              ":"};
  const Lines body = front_table(shown, at(front, "objectives")).lines(width);
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

}  // namespace

std::vector<std::string> names_of(const Json& objectives) {
  std::vector<std::string> names;
  if (!objectives.is_array()) return names;
  for (const Json& objective : objectives) names.push_back(text_at(objective, "name"));
  return names;
}

bool maximised(const Json& objectives, std::string_view name) {
  if (!objectives.is_array()) return false;
  return std::any_of(objectives.begin(), objectives.end(), [&](const Json& objective) {
    return text_at(objective, "name") == name && text_at(objective, "goal") == "maximize";
  });
}

Lines beside(const Lines& left, const Lines& right) {
  std::size_t width = 0;
  for (const std::string& line : left) width = std::max(width, display_width(line));
  Lines out;
  for (std::size_t i = 0; i < std::max(left.size(), right.size()); ++i) {
    const std::string line = i < left.size() ? left[i] : "";
    out.push_back(i < right.size() ? pad_right(line, width + plot_gap) + right[i] : line);
  }
  return out;
}

std::optional<Measured> measured_at(const Json& estimate, std::string_view key) {
  const auto value = number_at(estimate, key);
  if (!value) return {};
  Measured measured{*value, number_at(estimate, "stderr")};
  if (measured.standard_error && *measured.standard_error < 0) measured.standard_error.reset();
  return measured;
}

std::string candidate_text(const Json& candidate) {
  if (!candidate.is_object()) return {};
  std::vector<std::pair<std::string, const Json*>> items;
  for (const auto& [name, value] : candidate.items()) items.emplace_back(name, &value);
  const auto by_name = [](const auto& a, const auto& b) { return a.first < b.first; };
  if (std::is_sorted(items.begin(), items.end(), by_name)) {  // sorted as text: x10 before x2
    std::stable_sort(items.begin(), items.end(),
                     [](const auto& a, const auto& b) { return natural_less(a.first, b.first); });
  }
  std::string text;
  for (std::size_t i = 0; i < std::min(items.size(), most_parameters); ++i) {
    const auto& [name, value] = items[i];
    if (!text.empty()) text += "  ";
    if (value->is_array()) {
      if (items.size() > 1) text += printable(name) + ": ";
      text += vector_text(*value);
    } else {
      text += printable(name) + "=" + scalar_text(*value);
    }
  }
  if (items.size() > most_parameters) {
    text += "  … " + std::to_string(items.size() - most_parameters) + " more";
  }
  return text;
}

Lines front_view(const Json& front, std::size_t limit, const Page& page) {
  const Json& objectives = at(front, "objectives");
  const auto points = sorted_points(front);
  const auto size = std::max<std::size_t>(points.size(), count_at(front, "front_size"));
  Lines out = {front_heading(front, size)};
  if (size == 0) {
    out[0] = text_at(front, "job") + ": nothing measured yet";
    return out;
  }
  out.emplace_back();
  const Lines answer = answer_lines(front, page.width);
  out.insert(out.end(), answer.begin(), answer.end());
  const Lines plausible = plausible_lines(front, limit, page.width);
  if (points.empty()) {
    out.insert(out.end(), plausible.begin(), plausible.end());
    if (out.back().empty()) out.pop_back();
    return out;
  }
  const auto shown = spread(points, limit);
  const Table table = front_table(shown, objectives);
  const bool draw = page.picture && objectives.size() == 2 && points.size() > 1;
  if (draw && page.width >= least_table_beside_plot + plot_gap + plot_width) {
    const Lines body =
        beside(table.lines(page.width - plot_gap - plot_width), picture(front, plot_width));
    out.insert(out.end(), body.begin(), body.end());
  } else {
    const Lines body = table.lines(page.width);
    out.insert(out.end(), body.begin(), body.end());
    if (draw) {
      const Lines plot = picture(front, std::min<std::size_t>(page.width, 72));
      out.emplace_back();
      out.insert(out.end(), plot.begin(), plot.end());
    }
  }
  const Json& where = at(front, "where");
  const std::size_t allowed = where.is_object() ? count_at(where, "satisfied") : size;
  if (shown.size() < allowed) {
    out.push_back("(" + std::to_string(shown.size()) + " of " + format_count(allowed) +
                  " points, spread evenly; --limit 0 shows all)");
  }
  out.insert(out.end(), plausible.begin(), plausible.end());
  if (at(front, "recommended").is_object()) {
    out.emplace_back();
    out.push_back(recommended_line(at(front, "recommended")));
  }
  return out;
}

Lines trials_view(const Json& trials, const Page& page) {
  if (!trials.is_array() || trials.empty()) return {"no such trials"};
  std::vector<std::string> objectives;
  std::vector<std::string> numbers;
  std::vector<std::string> statuses;
  std::vector<std::string> times;
  std::vector<std::string> tags;
  std::vector<std::string> notes;
  for (const Json& trial : trials) {
    const Json& outcome = at(trial, "outcome");
    numbers.push_back(std::to_string(count_at(trial, "number")));
    statuses.push_back(text_at(trial, "status"));
    tags.push_back(text_at(trial, "tag"));
    const auto seconds = number_at(outcome, "seconds");
    times.push_back(seconds ? format_number(*seconds) + " s" : "");
    const std::string reason = text_at(outcome, "reason");
    notes.push_back(reason.empty() ? candidate_text(at(trial, "candidate")) : reason);
    const Json& values = at(outcome, "objectives");
    if (!values.is_object()) continue;
    for (const auto& [name, value] : values.items()) {
      if (std::find(objectives.begin(), objectives.end(), name) == objectives.end()) {
        objectives.push_back(name);
      }
    }
  }
  Table table;
  table.add_column("trial", std::move(numbers), Table::Align::right);
  table.add_column("status", std::move(statuses));
  for (const std::string& name : objectives) {
    std::vector<std::optional<Measured>> column;
    for (const Json& trial : trials) {
      column.push_back(measured_at(at(at(at(trial, "outcome"), "objectives"), name), "value"));
    }
    table.add_column(printable(name), format_column(column), Table::Align::right);
  }
  table.add_column("time", std::move(times), Table::Align::right);
  if (std::any_of(tags.begin(), tags.end(), [](const auto& tag) { return !tag.empty(); })) {
    table.add_column("for", std::move(tags));
  }
  table.add_column("candidate", std::move(notes));
  return table.lines(page.width);
}

}  // namespace paretod::cli
