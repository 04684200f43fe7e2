#include "daemon/cli/progress.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "daemon/cli/format.hpp"
#include "daemon/cli/result_view.hpp"

namespace paretod::cli {
namespace {

constexpr std::size_t widest_bar = 30;
constexpr std::size_t narrowest_bar = 8;

double part_done(const Json& progress) {
  const auto budget = static_cast<double>(count_at(progress, "budget_trials"));
  if (budget <= 0) return 0;
  return std::clamp(static_cast<double>(count_at(progress, "told")) / budget, 0.0, 1.0);
}

/// Rounded down, so that 100% means done.
std::string percent_text(const Json& progress) {
  return std::to_string(static_cast<int>(part_done(progress) * 100)) + "%";
}

std::string count_text(const Json& progress) {
  const std::uint64_t budget = count_at(progress, "budget_trials");
  const std::string told = format_count(count_at(progress, "told"));
  return budget == 0 ? told + " trials" : told + "/" + format_count(budget);
}

std::string rate_text(const Json& progress) {
  const double rate = number_at(progress, "trials_per_second").value_or(0);
  if (rate <= 0) return {};
  if (rate >= 0.1) return format_number(rate >= 100 ? std::round(rate) : rate) + "/s";
  return format_number(rate * 60) + "/min";
}

std::string left_text(const Json& progress) {
  const auto left = number_at(progress, "seconds_left");
  return left ? format_seconds(*left) + " left" : "";
}

struct Part {
  std::string text;
  int worth;  ///< the least worthy part is dropped first
};

std::string joined(const std::vector<Part>& parts) {
  std::string line;
  for (const Part& part : parts) line += (line.empty() ? "" : "  ") + part.text;
  return line;
}

}  // namespace

std::string progress_bar(double part, std::size_t width) {
  static constexpr std::array<const char*, 8> eighths = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const auto filled =
      static_cast<std::size_t>(std::clamp(part, 0.0, 1.0) * static_cast<double>(width * 8));
  std::string bar;
  for (std::size_t i = 0; i < filled / 8; ++i) bar += "█";
  if (filled % 8 > 0) bar += eighths[filled % 8];
  for (std::size_t i = (filled + 7) / 8; i < width; ++i) bar += "░";
  return bar;
}

std::string spend_text(const Json& progress) {
  std::string text;
  const Json& budgets = at(progress, "budgets");
  if (!budgets.is_object()) return text;
  const auto amount = [](const Json& budget, const char* which, const std::string& resource) {
    if (resource == "money") return text_at(budget, which);
    if (resource == "tokens") return format_count(count_at(budget, which));
    return format_seconds(number_at(budget, which).value_or(0));
  };
  for (const auto& [resource, budget] : budgets.items()) {
    if (!text.empty()) text += ", ";
    text += amount(budget, "spent", resource) + " of " + amount(budget, "cap", resource);
    if (resource == "tokens") text += " tokens";
    if (resource == "evaluation_s") text += " of evaluation";
  }
  return text;
}

std::string best_text(const Json& progress) {
  const Json& objectives = at(at(progress, "best"), "objectives");
  if (objectives.is_object() && objectives.size() == 1) {
    const auto best = measured_at(objectives.begin().value(), "value");
    return best ? printable(objectives.begin().key()) + " " + format_measured(*best) : "";
  }
  const std::uint64_t front = count_at(progress, "front_size");
  if (front == 0) return {};
  std::string text = "front of " + format_count(front);
  if (const auto volume = number_at(at(progress, "hypervolume"), "value")) {
    text += ", hypervolume " + format_number(*volume);
  }
  return text;
}

std::string trouble_text(const Json& job) {
  if (!at(job, "conditions").is_array()) return {};
  for (const Json& condition : at(job, "conditions")) {
    if (text_at(condition, "type") != "Healthy" || at(condition, "status") != Json(false)) continue;
    const std::string message = text_at(condition, "message");
    return message.empty() ? text_at(condition, "reason") : message;
  }
  return {};
}

std::string progress_line(const Json& job, std::size_t width) {
  const Json& progress = at(job, "progress");
  const std::string status = text_at(job, "status");
  const std::string trouble = is_final(status) ? "" : trouble_text(job);
  const bool running = status == "running" && trouble.empty();
  const bool has_budget = count_at(progress, "budget_trials") > 0;
  std::vector<Part> parts;
  const auto add = [&parts](std::string text, int worth) {
    if (!text.empty()) parts.push_back({std::move(text), worth});
  };
  add(text_at(job, "id"), 1);
  if (!running) add(status, 9);
  if (has_budget) {
    add(progress_bar(part_done(progress), narrowest_bar), 3);
    add(percent_text(progress), 8);
  }
  add(count_text(progress), 7);
  if (running) add(rate_text(progress), 2);
  add(best_text(progress), 5);
  add(spend_text(progress), 4);
  if (running) add(left_text(progress), 6);
  add(trouble, 10);

  while (parts.size() > 1 && display_width(joined(parts)) > width) {
    parts.erase(std::min_element(parts.begin(), parts.end(),
                                 [](const Part& a, const Part& b) { return a.worth < b.worth; }));
  }
  const std::size_t spare = width - std::min(width, display_width(joined(parts)));
  for (Part& part : parts) {
    if (part.worth != 3) continue;
    part.text = progress_bar(part_done(progress), std::min(widest_bar, narrowest_bar + spare));
  }
  return cut(joined(parts), width);
}

std::string progress_text(const Json& job) {
  const Json& progress = at(job, "progress");
  const std::string status = text_at(job, "status");
  std::string text = text_at(job, "id") + " " + status + " " + count_text(progress);
  if (count_at(progress, "budget_trials") > 0) text += " (" + percent_text(progress) + ")";
  std::vector<std::string> rest = {best_text(progress), spend_text(progress)};
  if (status == "running") rest.insert(rest.end(), {rate_text(progress), left_text(progress)});
  if (status != "running") rest.push_back(text_at(job, "status_reason"));
  const std::string trouble = trouble_text(job);
  if (trouble != text_at(job, "status_reason")) rest.push_back(trouble);
  for (const std::string& part : rest) {
    if (!part.empty()) text += ", " + part;
  }
  return text;
}

bool is_final(const std::string& status) {
  return status == "succeeded" || status == "failed" || status == "cancelled" ||
         status == "diverged";
}

}  // namespace paretod::cli
