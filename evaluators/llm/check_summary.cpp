#include "evaluators/llm/check_summary.hpp"

#include <algorithm>

namespace paretod::llm {
namespace {

constexpr std::size_t most_names = 10;

std::string counted(std::size_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

void line(std::string& out, std::string name, const std::string& text) {
  name.resize(std::max<std::size_t>(12, name.size() + 1), ' ');
  out += name + text + "\n";
}

std::string server_text(const LlmConfig& config, const ServerFacts& facts) {
  std::string text = config.server.api + " at " + config.server.url;
  if (!config.server.model.empty()) text += ", model " + config.server.model;
  // It may be the model's name once more.
  const std::string& identity = facts.identity;
  const std::size_t begin = identity.find_first_not_of(' ');
  if (begin != std::string::npos && identity.substr(begin) != config.server.model) {
    text += ", which says that it is " + identity.substr(begin, 200);
  }
  return text;
}

std::string adapters_text(const MergeConfig& merge) {
  std::string text = std::to_string(merge.adapters.size()) + ", merged in " +
                     (merge.factor_space ? "factor" : "delta") + " space, " +
                     (merge.alpha ? "with" : "without") + " keep fractions: ";
  const std::size_t shown = std::min(merge.adapters.size(), most_names);
  for (std::size_t i = 0; i < shown; ++i) text += (i > 0 ? ", " : "") + merge.adapters[i].name;
  if (shown < merge.adapters.size()) text += ", ...";
  return text;
}

std::string canaries_text(const LlmConfig& config) {
  if (!config.server.probe) return "not asked (server.probe is false)";
  if (config.server.api == "loss_oracle") return "none for a loss service";
  return config.merge.adapters.empty()
             ? "the model answers"
             : "adapters change answers, and an answer comes back the same after others";
}

std::string ledger_text(const ResponseLedger::Totals& totals, const std::string& path) {
  return counted(totals.answers, "answer") + " and " + counted(totals.unknown, "unknown outcome") +
         " in " + path;
}

}  // namespace

std::string check_summary(const LlmConfig& config, const CheckFindings& findings) {
  std::string out;
  line(out, "server", server_text(config, findings.server));
  line(out, "slots",
       counted(config.slots, "candidate") + ", " + counted(findings.calls_at_once, "call") +
           " at once" +
           (findings.server.slots > 0
                ? " (the server has " + counted(findings.server.slots, "slot") + ")"
                : ""));
  if (!config.merge.adapters.empty()) line(out, "adapters", adapters_text(config.merge));
  line(out, "canaries", canaries_text(config));
  for (const TaskConfig& task : config.tasks) {
    std::string text;
    for (std::size_t i = 0; i < split_names.size(); ++i) {
      text += std::string(i > 0 ? ", " : "") + split_names[i] + " " +
              counted(task.splits[i].size(), "example");
    }
    line(out, "task " + task.name, text);
  }
  std::string objectives;
  for (const ObjectiveConfig& objective : config.objectives) {
    objectives += (objectives.empty() ? "" : ", ") + objective.name +
                  (objective.goal == Goal::maximize ? " (max)" : " (min)");
  }
  line(out, "objectives", objectives);
  line(out, "ledger", ledger_text(findings.ledger, config.state.string()));
  line(out, "money",
       config.prices.paid() ? "a trial costs " + decimal_of(findings.worst_trial.micros) + " " +
                                  config.prices.currency + " at most"
                            : "calls are free (provider.prices names none)");
  return out;
}

}  // namespace paretod::llm
