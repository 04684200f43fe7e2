#include "daemon/cli/listing_view.hpp"

#include <algorithm>
#include <utility>

#include "daemon/cli/progress.hpp"
#include "daemon/cli/report_view.hpp"
#include "daemon/cli/table.hpp"

namespace paretod::cli {
namespace {

constexpr std::size_t label_width = 14;

/// A JSON value as a person would write it in a list.
std::string value_text(const Json& value) {
  if (value.is_string()) return printable(value.get_ref<const std::string&>());
  if (value.is_number_float()) return format_number(value.get<double>());
  if (value.is_array()) {
    std::string text;
    for (const Json& item : value) text += (text.empty() ? "" : ", ") + value_text(item);
    return text.empty() ? "none" : text;
  }
  if (value.is_boolean()) return value.get<bool>() ? "true" : "false";
  return value.is_null() ? "" : value.dump();
}

std::string params_text(const Json& params) {
  std::string text;
  if (!params.is_object()) return text;
  for (const auto& [name, value] : params.items()) {
    text += (text.empty() ? "" : ", ") + printable(name) + "=" + value_text(value);
  }
  return text;
}

/// "lcsc revision 1 (search=cma_es)".
std::string choice_text(const Json& choice) {
  if (choice.is_string()) return value_text(choice);
  std::string text = text_at(choice, "name");
  if (count_at(choice, "revision") > 0) {
    text += " revision " + std::to_string(count_at(choice, "revision"));
  }
  const std::string params = params_text(at(choice, "params"));
  return params.empty() ? text : text + " (" + params + ")";
}

std::string parameter_text(const Json& parameter) {
  const std::string type = text_at(parameter, "type");
  std::string text = text_at(parameter, "name") + " " + type;
  if (const std::uint64_t size = count_at(parameter, "size")) {
    text += " of " + std::to_string(size);
  }
  if (at(parameter, "choices").is_array()) return text + " " + value_text(at(parameter, "choices"));
  const auto low = number_at(parameter, "low");
  const auto high = number_at(parameter, "high");
  if (low && high) text += " " + format_number(*low) + ".." + format_number(*high);
  if (at(parameter, "log") == Json(true)) text += " log";
  return text;
}

std::string space_text(const Json& space) {
  constexpr std::size_t most = 6;
  std::string text;
  if (!space.is_array()) return text;
  for (std::size_t i = 0; i < std::min(space.size(), most); ++i) {
    text += (i > 0 ? ", " : "") + parameter_text(space[i]);
  }
  if (space.size() > most) text += ", … " + std::to_string(space.size() - most) + " more";
  return text;
}

std::string objectives_text(const Json& objectives) {
  std::string text;
  if (!objectives.is_array()) return text;
  for (const Json& objective : objectives) {
    const bool maximise = text_at(objective, "goal") == "maximize";
    text += (text.empty() ? "" : ", ") + std::string(maximise ? "maximize " : "minimize ") +
            text_at(objective, "name");
  }
  return text;
}

std::string trials_text(const Json& progress) {
  const std::uint64_t budget = count_at(progress, "budget_trials");
  std::string text = format_count(count_at(progress, "told"));
  if (budget > 0) text += "/" + format_count(budget);
  return text;
}

std::string counts_text(const Json& progress) {
  std::string text = trials_text(progress) + " told";
  for (const char* status : {"ok", "infeasible", "failed", "unknown"}) {
    const std::uint64_t count = count_at(progress, status);
    if (count > 0) text += ", " + format_count(count) + " " + status;
  }
  const std::uint64_t in_flight = count_at(progress, "in_flight");
  if (in_flight > 0) text += ", " + format_count(in_flight) + " in flight";
  return text;
}

std::string time_text(const Json& progress) {
  std::string text;
  const auto add = [&text](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  if (const auto running = number_at(progress, "running_seconds")) {
    add(format_seconds(*running) + " running");
  }
  if (const auto evaluating = number_at(progress, "evaluation_seconds")) {
    add(format_seconds(*evaluating) + " of evaluation");
  }
  const double rate = number_at(progress, "trials_per_second").value_or(0);
  if (rate > 0) add(format_number(rate) + " trials/s");
  if (const auto left = number_at(progress, "seconds_left")) add(format_seconds(*left) + " left");
  return text;
}

/// "4..4096", ">= 0", "steady_state | cma_es".
std::string range_text(const Json& schema) {
  const Json& leaf = at(schema, "items").is_object() ? at(schema, "items") : schema;
  if (at(leaf, "enum").is_array()) {
    std::string text;
    for (const Json& choice : at(leaf, "enum")) {
      text += (text.empty() ? "" : " | ") + value_text(choice);
    }
    return text;
  }
  const auto low = number_at(leaf, "minimum");
  const auto high = number_at(leaf, "maximum");
  if (low && high) return format_number(*low) + ".." + format_number(*high);
  if (low) return "≥ " + format_number(*low);
  if (high) return "≤ " + format_number(*high);
  const std::string type = text_at(schema, "type");
  return type == "boolean" ? "true | false" : type;
}

/// A table whose last column is broken into several lines instead of cut.
Lines described(Table table, const std::string& title, const std::vector<std::string>& texts,
                const Page& page) {
  constexpr std::size_t least = 24;
  const Lines bare = table.lines();
  const std::size_t left = display_width(bare[1]) + 2;
  const std::size_t total = page.width == 0 ? 120 : page.width;
  const std::size_t room = std::max(least, total - std::min(total, left));
  std::size_t widest = display_width(title);
  for (const std::string& text : texts) widest = std::max(widest, display_width(text));
  std::string rule = bare[1] + "  ";
  for (std::size_t i = 0; i < std::min(widest, room); ++i) rule += "─";
  Lines out = {pad_right(bare[0], left) + title, rule};
  for (std::size_t row = 0; row < texts.size(); ++row) {
    std::string head = pad_right(bare[row + 2], left);
    for (const std::string& line : wrap(texts[row], room)) {
      out.push_back(head + line);
      head.assign(left, ' ');
    }
  }
  for (std::string& line : out) line.erase(line.find_last_not_of(' ') + 1);
  return out;
}

}  // namespace

Lines jobs_view(const Json& reply, const Page& page) {
  const Json& jobs = at(reply, "jobs");
  Lines unreadable;
  if (at(reply, "unreadable").is_array()) {
    for (const Json& job : at(reply, "unreadable")) {
      unreadable.push_back("cannot be read: " + text_at(job, "id") + ": " +
                           text_at(job, "message"));
    }
  }
  if (!jobs.is_array() || jobs.empty()) {
    return unreadable.empty() ? Lines{"no jobs"} : unreadable;
  }
  std::vector<std::string> ids;
  std::vector<std::string> statuses;
  std::vector<std::string> trials;
  std::vector<std::string> created;
  std::vector<std::string> results;
  for (const Json& job : jobs) {
    const Json& progress = at(job, "progress");
    ids.push_back(text_at(job, "id"));
    statuses.push_back(text_at(job, "status"));
    trials.push_back(trials_text(progress));
    created.push_back(format_time(text_at(job, "create_time")));
    const std::string trouble = trouble_text(job);
    results.push_back(trouble.empty() ? best_text(progress) : trouble);
  }
  Table table;
  table.add_column("job", std::move(ids));
  table.add_column("status", std::move(statuses));
  table.add_column("trials", std::move(trials), Table::Align::right);
  table.add_column("created (UTC)", std::move(created));
  table.add_column("result", std::move(results));
  Lines out = table.lines(page.width);
  out.insert(out.end(), unreadable.begin(), unreadable.end());
  return out;
}

Lines job_view(const Json& job) {
  const Json& spec = at(job, "spec");
  const Json& progress = at(job, "progress");
  std::string title = text_at(job, "id") + ": " + text_at(job, "status");
  const std::string reason = text_at(job, "status_reason");
  if (!reason.empty()) title += " (" + reason + ")";
  Lines out = {title, ""};
  const auto add = [&out](const std::string& label, const std::string& text) {
    if (!text.empty()) out.push_back("  " + pad_right(label, label_width) + text);
  };
  add("optimizer", choice_text(at(spec, "optimizer")));
  add("evaluator", choice_text(at(spec, "evaluator")));
  add("space", space_text(at(spec, "space")));
  add("objectives", objectives_text(at(spec, "objectives")));
  add("seed", value_text(at(spec, "seed")));
  add("trials", counts_text(progress));
  if (const std::uint64_t parallelism = count_at(progress, "parallelism")) {
    add("parallelism", format_count(parallelism));
  }
  add("time", time_text(progress));
  add("spent", spend_text(progress));
  if (const std::uint64_t best = count_at(at(progress, "best"), "trial")) {
    add("best", best_text(progress) + " (trial " + std::to_string(best) + ")");
  } else {
    add("best", best_text(progress));
  }
  add("created", format_time(text_at(job, "create_time")) + " UTC");
  add("updated", format_time(text_at(job, "update_time")) + " UTC");
  const std::string trouble = trouble_text(job);
  if (trouble != reason) add("trouble", trouble);
  const Lines report = report_view(at(job, "report"), at(spec, "objectives"));
  if (!report.empty()) {
    out.emplace_back();
    out.insert(out.end(), report.begin(), report.end());
  }
  return out;
}

Lines evaluators_view(const Json& evaluators, const Page& page) {
  if (!evaluators.is_array() || evaluators.empty()) return {"no evaluators are configured"};
  std::vector<std::string> names;
  std::vector<std::string> slots;
  std::vector<std::string> queued;
  std::vector<std::string> objectives;
  std::vector<std::string> summaries;
  for (const Json& evaluator : evaluators) {
    names.push_back(text_at(evaluator, "name"));
    slots.push_back(format_count(count_at(evaluator, "busy")) + "/" +
                    format_count(count_at(evaluator, "slots")));
    queued.push_back(format_count(count_at(evaluator, "queued")));
    objectives.push_back(objectives_text(at(evaluator, "objectives")));
    summaries.push_back(text_at(evaluator, "summary"));
  }
  Table table;
  table.add_column("evaluator", std::move(names));
  table.add_column("busy", std::move(slots), Table::Align::right);
  table.add_column("queued", std::move(queued), Table::Align::right);
  table.add_column("objectives", std::move(objectives));
  return described(std::move(table), "what it is", summaries, page);
}

Lines optimizers_view(const Json& optimizers, const Page& page) {
  if (!optimizers.is_array() || optimizers.empty()) return {"no optimizers"};
  std::vector<std::string> names;
  std::vector<std::string> summaries;
  for (const Json& optimizer : optimizers) {
    names.push_back(text_at(optimizer, "name"));
    summaries.push_back(text_at(optimizer, "summary"));
  }
  Table table;
  table.add_column("optimizer", std::move(names));
  Lines out = described(std::move(table), "what it is", summaries, page);
  out.insert(out.end(), {"", "Parameters: paretod optimizers NAME"});
  return out;
}

namespace {

/// One line per parameter.
Lines fields_table(const Json& properties, const Page& page) {
  std::vector<std::string> names;
  std::vector<std::string> defaults;
  std::vector<std::string> ranges;
  std::vector<std::string> meanings;
  for (const auto& [name, schema] : properties.items()) {
    names.push_back(printable(name));
    const std::string value = value_text(at(schema, "default"));
    defaults.push_back(value.empty() ? "\"\"" : value);
    ranges.push_back(range_text(schema));
    meanings.push_back(text_at(schema, "description"));
  }
  Table table;
  table.add_column("parameter", std::move(names));
  table.add_column("default", std::move(defaults));
  table.add_column("range", std::move(ranges));
  return described(std::move(table), "meaning", meanings, page);
}

}  // namespace

Lines optimizer_view(const Json& optimizer, const Page& page) {
  const std::size_t width = page.width == 0 ? 120 : page.width;
  Lines out = {text_at(optimizer, "name") + ", revision " +
               std::to_string(count_at(optimizer, "revision"))};
  const auto add_text = [&](const std::string& text) {
    if (text.empty()) return;
    for (const std::string& line : wrap(text, width - std::min<std::size_t>(width, 2))) {
      out.push_back("  " + line);
    }
  };
  add_text(text_at(optimizer, "summary"));
  const std::string source = text_at(optimizer, "source");
  add_text(source.empty() ? "" : "Source: " + source);
  out.emplace_back();

  const Json& properties = at(at(optimizer, "params_schema"), "properties");
  if (!properties.is_object() || properties.empty()) {
    out.emplace_back("It has no parameters.");
    return out;
  }
  const Lines always = fields_table(properties, page);
  out.insert(out.end(), always.begin(), always.end());
  for (const Json& condition : at(at(optimizer, "params_schema"), "allOf")) {
    for (const auto& [name, wanted] : at(at(condition, "if"), "properties").items()) {
      const std::string value = value_text(at(wanted, "const"));
      out.insert(out.end(), {"", "With " + printable(name) + " = " + value + ":"});
    }
    const Lines table = fields_table(at(at(condition, "then"), "properties"), page);
    out.insert(out.end(), table.begin(), table.end());
  }
  return out;
}

}  // namespace paretod::cli
