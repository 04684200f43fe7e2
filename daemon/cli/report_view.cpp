#include "daemon/cli/report_view.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "daemon/cli/table.hpp"

namespace paretod::cli {
namespace {

constexpr std::size_t most_metrics = 2;
constexpr std::size_t most_adapters = 40;
constexpr std::string_view used_begins = "used.";
constexpr std::string_view without_begins = "without:";
constexpr std::string_view weight_begins = "beta.";
constexpr std::string_view keep_begins = "alpha.";

using Rows = std::vector<const Json*>;

struct Quantities {
  std::vector<std::string> objectives;
  std::vector<std::string> shown;  ///< objectives first
  std::vector<std::string> used;
  std::size_t left_out = 0;
};

std::optional<Measured> mean_of(const Json& row, const std::string& quantity) {
  return measured_at(at(at(row, "estimates"), quantity), "mean");
}

std::optional<Measured> difference_of(const Json& row, const std::string& quantity) {
  return measured_at(at(at(row, "difference"), quantity), "mean");
}

/// Whether all rows say the same.
bool tells_nothing(const std::string& quantity, const Rows& rows) {
  const auto first = mean_of(*rows[0], quantity);
  return rows.size() > 1 && std::all_of(rows.begin(), rows.end(), [&](const Json* row) {
           const auto mean = mean_of(*row, quantity);
           return mean.has_value() == first.has_value() && (!mean || mean->value == first->value);
         });
}

Quantities quantities_of(const Json& report, const Rows& rows, std::size_t objectives) {
  Quantities out;
  if (!at(report, "quantities").is_array()) return out;
  for (const Json& entry : at(report, "quantities")) {
    if (!entry.is_string()) continue;
    const auto name = entry.get<std::string>();
    // Objectives come first.
    if (out.objectives.size() < std::max<std::size_t>(objectives, 1)) {
      out.objectives.push_back(name);
      out.shown.push_back(name);
    } else if (name.starts_with(used_begins)) {
      out.used.push_back(name);
    } else if (out.shown.size() < out.objectives.size() + most_metrics &&
               !tells_nothing(name, rows)) {
      out.shown.push_back(name);
    } else {
      ++out.left_out;
    }
  }
  return out;
}

/// Whether a share of `base` says anything: not where it is next to nothing, beside the change or
/// its own error, nor where the change leads across zero.
bool percent_tells(const Measured& base, double change) {
  const double size = std::abs(base.value);
  return size > 0 && size >= std::abs(change) / 10 && size > 2 * base.standard_error.value_or(0) &&
         base.value * (base.value + change) >= 0;
}

/// "9.2% lower in fd" or "not clearly different in fd" (within two standard errors).
std::string comparison(const std::string& quantity, const Measured& other,
                       const Measured& other_minus_found) {
  const double change = -other_minus_found.value;
  if (std::abs(change) <= 2 * other_minus_found.standard_error.value_or(0) || change == 0) {
    return "not clearly different in " + quantity;
  }
  const std::string direction = change < 0 ? " lower in " : " higher in ";
  const std::string size = percent_tells(other, change)
                               ? format_fixed(100 * std::abs(change / other.value), 1) + "%"
                               : format_number(std::abs(change));
  return size + direction + quantity;
}

/// The second row is by custom the strongest baseline.
std::string headline(const Rows& rows, const std::vector<std::string>& quantities) {
  if (rows.size() < 2) return {};
  std::vector<std::string> parts;
  for (const std::string& quantity : quantities) {
    const auto other = mean_of(*rows[1], quantity);
    const auto difference = difference_of(*rows[1], quantity);
    if (other && difference) parts.push_back(comparison(quantity, *other, *difference));
  }
  if (parts.empty()) return {};
  std::string text = text_at(*rows[0], "name") + " against " + text_at(*rows[1], "name") + ": ";
  for (std::size_t i = 0; i < parts.size(); ++i) text += (i > 0 ? ", " : "") + parts[i];
  return text;
}

Table comparison_table(const Rows& rows, const Quantities& quantities, const Json& objectives) {
  // Rows that trade objectives against each other do not compete with the first.
  const bool trade = objectives.size() > 1;
  const std::string first = text_at(*rows[0], "name");
  Table table;
  std::vector<std::string> names;
  for (const Json* row : rows) names.push_back(text_at(*row, "name"));
  table.add_column("", std::move(names));
  for (const std::string& quantity : quantities.shown) {
    std::vector<std::optional<Measured>> means;
    std::vector<std::optional<Measured>> differences;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      means.push_back(mean_of(*rows[i], quantity));
      differences.push_back(i == 0 ? std::nullopt : difference_of(*rows[i], quantity));
    }
    const std::string goal = maximised(objectives, quantity) ? " (max)" : "";
    table.add_column(printable(quantity) + goal, format_column(means), Table::Align::right);
    const auto known = [](const auto& difference) { return difference.has_value(); };
    if (!trade && std::any_of(differences.begin(), differences.end(), known)) {
      std::vector<std::string> cells = format_column(differences, true);
      cells[0].clear();
      table.add_column("minus " + first, std::move(cells), Table::Align::right);
    }
  }
  return table;
}

/// "measuring these rows took 5,200 calls, 41,600 prompt tokens"
std::string used_line(const Json& rows, const std::vector<std::string>& used) {
  std::string text;
  for (const std::string& name : used) {
    double sum = 0;
    for (const Json& row : rows) sum += mean_of(row, name).value_or(Measured{}).value;
    if (!(sum > 0)) continue;
    std::string noun = printable(name.substr(used_begins.size()));
    std::replace(noun.begin(), noun.end(), '_', ' ');
    const bool whole = sum == std::floor(sum) && sum < 1e15;
    text += (text.empty() ? "" : ", ") +
            (whole ? format_count(static_cast<std::uint64_t>(sum)) : format_number(sum)) + " " +
            noun;
  }
  return text.empty() ? text : "measuring these rows took " + text;
}

/// The first row's adapters by name; of very many those that weigh most.
Lines adapter_lines(const Json& rows, const std::vector<std::string>& objectives) {
  const Json& candidate = at(rows[0], "candidate");
  if (!candidate.is_object()) return {};
  const auto number = [&candidate](std::string_view begins, const std::string& name) {
    return number_at(candidate, std::string(begins) + name);
  };
  std::vector<std::string> names;
  for (const auto& [parameter, value] : candidate.items()) {
    if (parameter.starts_with(weight_begins) && value.is_number()) {
      names.push_back(parameter.substr(weight_begins.size()));
    }
  }
  if (names.empty()) return {};
  const std::size_t all = names.size();
  std::stable_sort(names.begin(), names.end(), [&](const std::string& a, const std::string& b) {
    return std::abs(*number(weight_begins, a)) > std::abs(*number(weight_begins, b));
  });
  names.resize(std::min(all, most_adapters));
  std::sort(names.begin(), names.end(), natural_less);

  Table table;
  std::vector<std::string> shown;
  for (const std::string& name : names) shown.push_back(printable(name));
  table.add_column("adapter", std::move(shown));
  for (const std::string_view begins : {weight_begins, keep_begins}) {
    std::vector<std::string> cells;
    for (const std::string& name : names) {
      const auto value = number(begins, name);
      cells.push_back(value ? format_fixed(*value, 3) : "");
    }
    const auto empty = [](const std::string& cell) { return cell.empty(); };
    if (std::all_of(cells.begin(), cells.end(), empty)) continue;
    table.add_column(std::string(begins.substr(0, begins.size() - 1)), std::move(cells),
                     Table::Align::right);
  }
  for (const std::string& objective : objectives) {
    std::vector<std::optional<Measured>> differences;
    for (const std::string& name : names) {
      const auto found = std::find_if(rows.begin(), rows.end(), [&name](const Json& row) {
        return text_at(row, "name") == std::string(without_begins) + name;
      });
      differences.push_back(found == rows.end() ? std::nullopt : difference_of(*found, objective));
    }
    const auto known = [](const auto& difference) { return difference.has_value(); };
    if (std::none_of(differences.begin(), differences.end(), known)) continue;
    table.add_column(printable(objective) + " without it", format_column(differences, true),
                     Table::Align::right);
  }
  Lines out = table.lines();
  if (names.size() < all) {
    out.push_back("(" + plural(all - names.size(), "more adapter") +
                  ", of smaller beta, with --json)");
  }
  return out;
}

}  // namespace

Lines report_view(const Json& report, const Json& objectives) {
  const Json& all = at(report, "rows");
  if (!all.is_array() || all.empty()) return {};
  const std::size_t goals = std::max<std::size_t>(objectives.size(), 1);
  const Lines adapters = adapter_lines(all, quantities_of(report, {&all[0]}, goals).objectives);
  Rows rows;
  for (const Json& row : all) {
    if (adapters.empty() || !text_at(row, "name").starts_with(without_begins)) rows.push_back(&row);
  }
  const Quantities quantities = quantities_of(report, rows, goals);
  Lines out = comparison_table(rows, quantities, objectives).lines();
  if (quantities.left_out > 0) {
    out.push_back("(" + plural(quantities.left_out, "more metric") + " with --json)");
  }
  const std::string sentence = objectives.size() > 1 ? "" : headline(rows, quantities.shown);
  if (!sentence.empty()) out.insert(out.end(), {"", sentence});
  if (!adapters.empty()) {
    out.emplace_back();
    out.insert(out.end(), adapters.begin(), adapters.end());
  }
  const std::string used = used_line(all, quantities.used);
  if (!used.empty()) out.insert(out.end(), {"", used});
  return out;
}

}  // namespace paretod::cli
