#include "daemon/cli/arguments.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <numeric>
#include <utility>

#include "daemon/cli/format.hpp"

namespace paretod::cli {
namespace {

using Kind = Option::Kind;

constexpr std::size_t help_width = 96;

const std::vector<Option>& common_options() {
  static const std::vector<Option> options = {
      {"--url", Kind::text, "URL",
       "where the daemon answers (default http://127.0.0.1:8780, or PARETOD_URL)", "--daemon"},
      {"--token-file", Kind::text, "FILE",
       "file with the daemon's bearer token (or PARETOD_TOKEN_FILE)"},
      {"--json", Kind::flag, "", "print the daemon's JSON instead of text"},
  };
  return options;
}

/// Of the verbs that merge models.
const std::vector<Option>& merge_options_listed() {
  static const std::vector<Option> options = {
      {"--memory", Kind::count, "MIB",
       "what merging may keep in memory (default: a quarter of the machine's, at most 4096)"},
      {"--shard-size", Kind::count, "MB", "a model's file has at most so much (default 5000)"},
      {"--threads", Kind::count, "N", "threads that merge (default: one per core)"},
  };
  return options;
}

const Option& help_option() {
  static const Option option{"--help", Kind::flag, "", "show this help", "-h"};
  return option;
}

std::vector<Option> options_of(const Verb* verb) {
  std::vector<Option> options;
  if (verb != nullptr) options = verb->options;
  if (verb == nullptr || verb->talks_to_daemon) {
    options.insert(options.end(), common_options().begin(), common_options().end());
  }
  options.push_back(help_option());
  return options;
}

/// Levenshtein distance.
std::size_t edits(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replace});
    }
  }
  return row.back();
}

/// "; did you mean X?" when something known is close.
std::string suggestion(std::string_view word, const std::vector<std::string_view>& known) {
  std::string_view best;
  std::size_t least = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string_view candidate : known) {
    const std::size_t distance = edits(word, candidate);
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best.empty() ? "" : "; did you mean " + std::string(best) + "?";
}

std::string in_quotes(std::string_view text) {
  return '"' + std::string(text) + '"';
}

std::optional<std::uint64_t> to_count(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

std::optional<Error> check_value(const Option& option, const std::string& value) {
  const std::string name(option.name);
  if (option.kind == Kind::count && !to_count(value)) {
    return invalid(name + " takes a whole number, not " + in_quotes(value));
  }
  if (option.kind == Kind::text && value.empty()) return invalid(name + " is empty");
  if (!option.choices.empty() &&
      std::find(option.choices.begin(), option.choices.end(), value) == option.choices.end()) {
    std::string known;
    for (const std::string_view choice : option.choices) {
      known += (known.empty() ? "" : ", ") + std::string(choice);
    }
    return invalid(name + " takes one of " + known + ", not " + in_quotes(value));
  }
  return {};
}

/// Reads words one by one; which options exist is known once the verb has been seen, so the verb
/// is looked for first.
class Parser {
 public:
  explicit Parser(const std::vector<std::string>& words) : words_(words) {}

  Result<Arguments> parse() {
    if (auto error = find_verb()) return *std::move(error);
    options_ = options_of(arguments_.verb);
    for (at_ = 0; at_ < words_.size(); ++at_) {
      if (at_ == verb_at_) continue;
      auto error = is_option(words_[at_]) ? take_option() : take_operand();
      if (error) return *std::move(error);
    }
    if (arguments_.help || arguments_.version) return std::move(arguments_);
    if (arguments_.verb == nullptr) return invalid("what should be done? See paretod --help");
    const std::string_view operand = arguments_.verb->operand;
    if (!operand.empty() && operand[0] != '[' && arguments_.operand.empty()) {
      return invalid("paretod " + std::string(arguments_.verb->name) + " needs a " +
                     std::string(operand));
    }
    return std::move(arguments_);
  }

 private:
  [[nodiscard]] bool is_option(const std::string& word) const {
    return !only_operands_ && word.size() > 1 && word[0] == '-';
  }

  /// The verb is the first word that is neither an option nor the value of a common one.
  std::optional<Error> find_verb() {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      if (words_[i] == "--") break;
      if (is_option(words_[i])) {
        const Option* option = find(common_options(), words_[i]);
        if (option != nullptr && option->kind != Kind::flag) ++i;
        continue;
      }
      const auto verb = std::find_if(verbs().begin(), verbs().end(),
                                     [&](const Verb& known) { return known.name == words_[i]; });
      if (verb != verbs().end()) {
        arguments_.verb = &*verb;
        verb_at_ = i;
        return {};
      }
      std::vector<std::string_view> known;
      for (const Verb& each : verbs()) known.push_back(each.name);
      return invalid("there is no command " + in_quotes(words_[i]) + suggestion(words_[i], known));
    }
    return {};
  }

  static const Option* find(const std::vector<Option>& options, std::string_view name) {
    const auto found = std::find_if(options.begin(), options.end(), [&](const Option& option) {
      return option.name == name || (!option.also.empty() && option.also == name);
    });
    if (found == options.end()) return nullptr;
    return &*found;
  }

  static const Option* find(std::vector<Option>&& options, std::string_view name) = delete;

  std::optional<Error> take_option() {
    const std::string& word = words_[at_];
    if (word == "--") {
      only_operands_ = true;
      return {};
    }
    if (word == "--version" && arguments_.verb == nullptr) {
      arguments_.version = true;
      return {};
    }
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const Option* option = find(options_, name);
    if (option == nullptr) {
      std::vector<std::string_view> known;
      for (const Option& each : options_) known.push_back(each.name);
      return invalid("there is no option " + in_quotes(name) + suggestion(name, known));
    }
    if (option->name == help_option().name) {
      arguments_.help = true;
      return {};
    }
    std::string value;
    if (option->kind == Kind::flag) {
      if (equals != std::string::npos) return invalid(name + " takes no value");
    } else if (equals != std::string::npos) {
      value = word.substr(equals + 1);
    } else if (at_ + 1 < words_.size()) {
      value = words_[++at_];
    } else {
      return invalid(name + " needs a value: " + name + " " + std::string(option->value));
    }
    if (auto error = check_value(*option, value)) return error;
    if (!option->repeatable) arguments_.options.erase(std::string(option->name));
    arguments_.options.emplace(option->name, std::move(value));
    return {};
  }

  std::optional<Error> take_operand() {
    if (arguments_.verb->operand.empty() || !arguments_.operand.empty()) {
      return invalid("what is " + in_quotes(words_[at_]) + "? See paretod " +
                     std::string(arguments_.verb->name) + " --help");
    }
    if (words_[at_].empty()) {
      return invalid("the " + std::string(arguments_.verb->operand) + " is empty");
    }
    arguments_.operand = words_[at_];
    return {};
  }

  const std::vector<std::string>& words_;
  std::vector<Option> options_;
  Arguments arguments_;
  std::size_t at_ = 0;
  std::size_t verb_at_ = std::string::npos;
  bool only_operands_ = false;
};

std::string two_columns(const std::vector<std::pair<std::string, std::string>>& rows) {
  std::size_t left = 0;
  for (const auto& [name, meaning] : rows) left = std::max(left, display_width(name));
  std::string out;
  for (const auto& [name, meaning] : rows) {
    std::string head = "  " + pad_right(name, left) + "  ";
    for (const std::string& line : wrap(meaning, help_width - left - 4)) {
      out += head + line + "\n";
      head.assign(left + 4, ' ');
    }
  }
  return out;
}

std::string help_of(const std::vector<Option>& options) {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const Option& option : options) {
    std::string name;
    if (!option.also.empty()) name = std::string(option.also) + ", ";
    name += option.name;
    if (!option.value.empty()) name += " " + std::string(option.value);
    rows.emplace_back(std::move(name), option.meaning);
  }
  return two_columns(rows);
}

}  // namespace

const std::vector<Verb>& verbs() {
  static const std::vector<std::string_view> job_statuses = {
      "queued", "running", "paused", "succeeded", "failed", "cancelled", "diverged"};
  static const std::vector<Verb> all = {
      {"serve",
       "",
       "run the daemon",
       {{"--config", Kind::text, "FILE", "configuration file"},
        {"--state-dir", Kind::text, "DIR", "where the daemon keeps what must survive"},
        {"--port", Kind::count, "N", "TCP port to answer at"},
        {"--redis-url", Kind::text, "URL", "use this Redis instead of a private one"},
        {"--quiet", Kind::flag, "", "log warnings and errors only"}},
       false},
      {"worker",
       "",
       "evaluate for a daemon elsewhere",
       {{"--daemon", Kind::text, "URL",
         "where that daemon answers (default http://127.0.0.1:8780, or PARETOD_URL)", "--url"},
        {"--token-file", Kind::text, "FILE",
         "file with the daemon's bearer token (or PARETOD_TOKEN_FILE)"},
        {"--evaluator", Kind::text, "NAME",
         "what to evaluate: the daemon's name for it, and the one in the configuration here"},
        {"--config", Kind::text, "FILE",
         "configuration file whose \"evaluators\" say how it is run here"},
        {"--slots", Kind::count, "N", "attempts at once (default: as many as the evaluator takes)"},
        {"--job", Kind::text, "JOB", "evaluate for this job only"},
        {"--name", Kind::text, "NAME",
         "name of this worker, unique among all (default: host and process)"},
        {"--state", Kind::text, "DIR",
         "where results wait, in workers/, until the daemon has them"},
        {"--grace", Kind::count, "S",
         "seconds that running attempts may take to end, and be reported, after SIGTERM (default "
         "30)"},
        {"--idle-exit", Kind::count, "S", "end when there was nothing to do for so many seconds"}},
       false,
       "  paretod worker --evaluator sphere --daemon http://search:8780\n"
       "  paretod worker --evaluator digits --config worker.json --slots 4 --idle-exit 600\n"},
      {"submit",
       "FILE",
       "submit a job from a JSON file (- reads standard input)",
       {{"--watch", Kind::flag, "", "watch it to its end"},
        {"--name", Kind::text, "NAME", "name of the job, instead of the file's"},
        {"--seed", Kind::count, "N", "random seed, instead of the file's"},
        {"--trials", Kind::count, "N", "budget in trials, instead of the file's"},
        {"--idempotency-key", Kind::text, "KEY",
         "submitting again under the same key gives the same job"}}},
      {"watch", "JOB", "follow a job to its end and show the result", {}},
      {"front",
       "JOB",
       "show the Pareto front, or the best point, and choose among its points",
       {{"--preference", Kind::text, "WEIGHTS",
         "choose by weights per objective: fd=0.7,time=0.3 (objectives are scaled to the front's "
         "range; what is not named weighs nothing)"},
        {"--method",
         Kind::text,
         "METHOD",
         "how a preference chooses: chebyshev (the default) or weighted_sum",
         "",
         {"chebyshev", "weighted_sum"}},
        {"--reference-point", Kind::text, "VALUES",
         "choose the point that reaches these values best: fd=0.4,time=2"},
        {"--knee", Kind::flag, "",
         "choose the point farthest below the line between the ends of the front"},
        {.name = "--where",
         .kind = Kind::text,
         .value = "CONSTRAINT",
         .meaning = "only points that meet it: 'acc>=0.8'; may be repeated",
         .repeatable = true},
        {"--predicted", Kind::flag, "",
         "the front that the optimizer's surrogate predicts, beside the measured one"},
        {"--at", Kind::count, "TRIAL", "the front as of the moment this trial was told"},
        {"--confidence", Kind::text, "P",
         "also list the points that nothing dominates with this confidence: 0.95"},
        {"--limit", Kind::count, "N", "at most so many points; a table shows 20 unless told"},
        {"--format", Kind::text, "FORMAT", "table, json or csv", "", {"table", "json", "csv"}},
        {"--csv", Kind::flag, "", "the same as --format csv"}},
       true,
       "  paretod front last --preference fd=0.7,time=0.3 --method weighted_sum\n"
       "  paretod front last --reference-point fd=0.4,time=2\n"
       "  paretod front last --knee --where 'acc>=0.8' --where 'time<2'\n"
       "  paretod front last --at 500 --limit 5\n"
       "  paretod front last --predicted --preference fd=0.7,time=0.3\n"
       "  paretod front last --confidence 0.95 --csv\n"},
      {"surrogate",
       "JOB",
       "show the surrogate that a job's optimizer fits, and whether there is a trade-off",
       {}},
      {"verify",
       "JOB",
       "have predicted points measured, of a running job or one that has ended",
       {{"--count", Kind::count, "N", "the N points most worth measuring (default 1)"},
        {"--preference", Kind::text, "WEIGHTS", "the point that a preference chooses, as in front"},
        {"--method",
         Kind::text,
         "METHOD",
         "how a preference chooses: chebyshev (the default) or weighted_sum",
         "",
         {"chebyshev", "weighted_sum"}},
        {"--reference-point", Kind::text, "VALUES",
         "the point that reaches these values best, as in front"},
        {"--knee", Kind::flag, "", "the knee, as in front"},
        {.name = "--where",
         .kind = Kind::text,
         .value = "CONSTRAINT",
         .meaning = "that the choice has to meet: 'acc>=0.8'; may be repeated",
         .repeatable = true},
        {"--fidelity", Kind::count, "N", "how much to evaluate (default: as the search does)"},
        {"--replicate", Kind::count, "N", "which block of noise or data (default 0)"},
        {"--wait", Kind::flag, "", "wait for the measurements and compare them"},
        {"--idempotency-key", Kind::text, "KEY",
         "asking again under the same key asks for nothing more"}},
       true,
       "  paretod verify last --count 3 --wait\n"
       "  paretod verify last --preference fd=0.7,time=0.3 --where 'time<2'\n"},
      {"trials",
       "JOB",
       "list the trials of a job",
       {{"--status",
         Kind::text,
         "STATUS",
         "only asked, ok, infeasible, failed or unknown ones",
         "",
         {"asked", "ok", "infeasible", "failed", "unknown"}},
        {"--limit", Kind::count, "N", "at most so many, from the first on (default 50)"},
        {"--log", Kind::count, "TRIAL", "what the attempts at one trial wrote to stderr"}}},
      {"jobs",
       "",
       "list all jobs, newest first",
       {{"--status", Kind::text, "STATUS",
         "only queued, running, paused, succeeded, failed, cancelled or diverged ones", "",
         job_statuses}}},
      {"job", "JOB", "show one job in full", {}},
      {"pause", "JOB", "let a job rest; what is in flight is still counted", {}},
      {"resume", "JOB", "let a paused job go on", {}},
      {"cancel", "JOB", "end a job; its results are kept", {}},
      {"extend",
       "JOB",
       "give a job a new budget",
       {{"--trials", Kind::count, "N", "trials in all, those already run included"},
        {"--parallelism", Kind::count, "N", "evaluations in flight at once"},
        {"--evaluation-s", Kind::count, "SECONDS", "seconds of evaluation in all; 0 is unlimited"},
        {"--tokens", Kind::count, "N", "tokens in all; 0 is unlimited"},
        {"--money", Kind::text, "AMOUNT", "money in all, such as \"5.00 USD\""}}},
      {"export", "JOB",
       "write a job's complete event log as JSON lines, or the model that a trial stands for",
       [] {
         std::vector<Option> options{
             {"--output", Kind::text, "FILE",
              "file to write, instead of standard output; with --trial, the model's folder", "-o"},
             {"--trial", Kind::count, "N",
              "of an evaluator \"merge\" or \"diffusion\": its model, recipe.json and "
              "mergekit.yml, merged here; "
              "without -o, the recipe alone"}};
         options.insert(options.end(), merge_options_listed().begin(),
                        merge_options_listed().end());
         return options;
       }()},
      {"merge", "", "merge models by a recipe, without a daemon",
       [] {
         std::vector<Option> options{
             {"--recipe", Kind::text, "FILE",
              "models, method and numbers (config/schemas/merge-recipe.json)", "-r"},
             {"--output", Kind::text, "FOLDER", "where the merged model goes", "-o"}};
         options.insert(options.end(), merge_options_listed().begin(),
                        merge_options_listed().end());
         return options;
       }(),
       false,
       "  paretod merge --recipe recipe.json -o merged/\n"
       "  paretod merge --recipe recipe.json -o merged/ --memory 512 --shard-size 2000\n"},
      {"evaluators", "", "list what the daemon can evaluate", {}},
      {"optimizers", "[NAME]", "list the search methods, or the parameters of one", {}},
      {"replay", "FILE", "run a search again over its exported log and compare", {}, false},
  };
  return all;
}

bool Arguments::has(std::string_view option) const {
  return options.find(option) != options.end();
}

std::optional<std::string> Arguments::text(std::string_view option) const {
  const auto found = options.find(option);
  if (found == options.end()) return {};
  return found->second;
}

std::vector<std::string> Arguments::texts(std::string_view option) const {
  std::vector<std::string> values;
  const auto [first, last] = options.equal_range(option);
  for (auto it = first; it != last; ++it) values.push_back(it->second);
  return values;
}

std::optional<std::uint64_t> Arguments::count(std::string_view option) const {
  const auto value = text(option);
  return value ? to_count(*value) : std::nullopt;
}

Result<Arguments> parse_arguments(const std::vector<std::string>& words) {
  return Parser(words).parse();
}

std::string general_help() {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const Verb& verb : verbs()) {
    std::string name(verb.name);
    if (!verb.operand.empty()) name += " " + std::string(verb.operand);
    rows.emplace_back(std::move(name), verb.summary);
  }
  return "paretod searches for the best trade-offs of things that are expensive to evaluate.\n"
         "\nUsage: paretod COMMAND [OPTIONS]\n\nCommands:\n" +
         two_columns(rows) +
         "\nA JOB is its id, the beginning of one, or \"last\" for the newest.\n"
         "\nOptions of every command that talks to the daemon:\n" +
         help_of(common_options()) + "\nMore: paretod COMMAND --help, paretod --version\n";
}

std::string help_of(const Verb& verb) {
  std::string usage = "Usage: paretod " + std::string(verb.name);
  if (!verb.operand.empty()) usage += " " + std::string(verb.operand);
  std::string summary(verb.summary);
  summary[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(summary[0])));
  std::string text =
      usage + " [OPTIONS]\n\n" + summary + ".\n\nOptions:\n" + help_of(options_of(&verb));
  if (!verb.examples.empty()) text += "\nExamples:\n" + std::string(verb.examples);
  return text;
}

}  // namespace paretod::cli
