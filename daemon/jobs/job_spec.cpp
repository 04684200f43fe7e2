#include "daemon/jobs/job_spec.hpp"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <random>

#include "adapters/json/object_reader.hpp"
#include "adapters/json/params_json.hpp"
#include "adapters/json/space_json.hpp"
#include "daemon/jobs/catalog.hpp"
#include "daemon/jobs/money.hpp"

namespace paretod {
namespace {

using nlohmann::json;

constexpr std::size_t max_parameters = 1024;  // reliability.md section 4
constexpr std::size_t max_objectives = 8;
constexpr std::uint64_t max_trials = 1'000'000;
constexpr std::size_t max_parallelism = 10'000;
constexpr std::uint64_t max_imported_trials = 1'000;
constexpr std::size_t max_initial_points = 1'000;
constexpr std::uint64_t max_exact_seed = (std::uint64_t{1} << 53) - 1;  // JSON numbers are doubles

/// "random", or {"name": "lcsc", "params": {...}}.
struct NamedParams {
  std::string name;
  ParamValues params;
  std::uint32_t revision = 0;
};

NamedParams read_named(const json& value, const std::string& at, bool stored, Problems& problems) {
  if (value.is_string()) return {value.get<std::string>(), {}};
  NamedParams named;
  ObjectReader reader(value, at, problems);
  if (!reader.is_object()) return named;
  if (reader.require("name") != nullptr) named.name = reader.string("name").value_or("");
  if (const json* params = reader.find("params")) {
    auto values = param_values_from_json(*params, at + "/params");
    if (values) {
      named.params = std::move(*values);
    } else {
      const Problems& found = values.error().problems;
      problems.insert(problems.end(), found.begin(), found.end());
    }
  }
  if (stored) {
    named.revision = static_cast<std::uint32_t>(reader.count("revision").value_or(1));
  }
  reader.refuse_others();
  return named;
}

/// The amount; its currency has to be the budget's, if that has one already.
std::int64_t read_money(ObjectReader& reader, const char* name, std::string& currency) {
  const auto text = reader.string(name);
  if (!text) return 0;
  const auto money = parse_money(*text);
  if (!money) {
    reader.refuse(name, money.error().message);
    return 0;
  }
  if (!currency.empty() && money->currency != currency) {
    reader.refuse(name, "must be in " + currency + ", as the rest of the budget");
  }
  currency = money->currency;
  return money->micros;
}

/// "evaluation_s" in a budget is "seconds" of one attempt.
Spend read_spend(ObjectReader& reader, const char* seconds, std::string& currency) {
  Spend spend;
  spend.seconds = reader.number(seconds).value_or(0);
  if (spend.seconds < 0) reader.refuse(seconds, "must not be negative");
  spend.tokens = reader.count("tokens").value_or(0);
  spend.money_micros = read_money(reader, "money", currency);
  return spend;
}

Budget read_budget(const json& value, Problems& problems) {
  Budget budget;
  ObjectReader reader(value, "/budget", problems);
  if (const auto trials = reader.count("trials")) {
    budget.trials = *trials;
    if (*trials < 1 || *trials > max_trials) {
      reader.refuse("trials", "must be between 1 and " + std::to_string(max_trials));
    }
  }
  if (const auto wall = reader.number("wall_s")) {
    budget.wall_s = *wall;
    if (*wall < 0) reader.refuse("wall_s", "must not be negative; 0 is unlimited");
  }
  budget.caps = read_spend(reader, "evaluation_s", budget.currency);
  if (const json* worst = reader.find("worst_case")) {
    ObjectReader worst_case(*worst, "/budget/worst_case", problems);
    budget.worst_case = read_spend(worst_case, "seconds", budget.currency);
    worst_case.refuse_others();
  }
  reader.refuse_others();
  return budget;
}

NoisePolicy read_noise(const json& value, Problems& problems) {
  NoisePolicy noise;
  ObjectReader reader(value, "/noise", problems);
  if (const auto confidence = reader.number("confidence")) {
    noise.confidence = *confidence;
    if (*confidence != 0 && !(*confidence >= 0.5 && *confidence < 1)) {
      reader.refuse("confidence", "must be 0 (off), or at least 0.5 and less than 1");
    }
  }
  if (const auto replicates = reader.count("replicates")) {
    noise.replicates = *replicates;
    if (*replicates < 1 || *replicates > 10'000) reader.refuse("replicates", "must be 1 to 10000");
  }
  reader.refuse_others();
  return noise;
}

StagnationPolicy read_stagnation(const json& value, Problems& problems) {
  StagnationPolicy stagnation;
  ObjectReader reader(value, "/stagnation", problems);
  if (reader.require("trials") != nullptr) {
    stagnation.trials = reader.count("trials").value_or(0);
  }
  if (const auto tolerance = reader.number("tolerance")) {
    stagnation.tolerance = *tolerance;
    if (!(*tolerance > 0 && *tolerance <= 1)) {
      reader.refuse("tolerance", "must be greater than 0 and at most 1");
    }
  }
  reader.refuse_others();
  return stagnation;
}

RacingPolicy read_racing(const json& value, Problems& problems) {
  RacingPolicy racing;
  ObjectReader reader(value, "/racing", problems);
  if (reader.require("confidence") != nullptr) {
    racing.confidence = reader.number("confidence").value_or(0);
    if (!(racing.confidence >= 0.5 && racing.confidence < 1)) {
      reader.refuse("confidence", "must be at least 0.5 and less than 1, such as 0.999");
    }
  }
  if (const auto minimum = reader.count("minimum")) {
    racing.minimum = *minimum;
    if (*minimum < 2) reader.refuse("minimum", "must be at least 2");
  }
  reader.refuse_others();
  return racing;
}

ImportRequest read_import(const json& value, Problems& problems) {
  ImportRequest request;
  ObjectReader reader(value, "/import", problems);
  if (reader.require("job") != nullptr) request.job = reader.string("job").value_or("");
  if (const auto trials = reader.count("trials")) {
    request.trials = *trials;
    if (*trials < 1 || *trials > max_imported_trials) {
      reader.refuse("trials", "must be between 1 and " + std::to_string(max_imported_trials));
    }
  }
  reader.refuse_others();
  return request;
}

/// Needs the space.
std::vector<Point> read_initial(const json& value, const SearchSpace& space, Problems& problems) {
  std::vector<Point> points;
  if (!value.is_array() || value.size() > max_initial_points) {
    problems.push_back({"/initial", "has to be an array of at most " +
                                        std::to_string(max_initial_points) + " candidates"});
    return points;
  }
  for (std::size_t i = 0; i < value.size(); ++i) {
    const std::string at = "/initial/" + std::to_string(i);
    auto point = point_from_json(space, value[i], at);
    if (!point) {
      const Problems& found = point.error().problems;
      problems.insert(problems.end(), found.begin(), found.end());
    } else if (std::find(points.begin(), points.end(), *point) != points.end()) {
      problems.push_back({at, "is the same as an earlier one"});
    } else {
      points.push_back(std::move(*point));
    }
  }
  return points;
}

void append(Problems& problems, const Problems& more) {
  problems.insert(problems.end(), more.begin(), more.end());
}

template <class T>
std::optional<T> keep(Result<T> result, Problems& problems) {
  if (result) return std::move(*result);
  append(problems, result.error().problems);
  return std::nullopt;
}

/// The fields as written; the catalog has not been asked yet.
struct RawSpec {
  JobSpec spec;
  bool has_space = false;
  bool has_objectives = false;
  bool has_parallelism = false;
  const json* initial = nullptr;  ///< read once the space is complete
};

RawSpec read_fields(const json& document, bool stored, Problems& problems) {
  RawSpec raw;
  JobSpec& spec = raw.spec;
  ObjectReader reader(document, "", problems);
  spec.name = reader.string("name").value_or("");
  if (const json* optimizer = reader.require("optimizer")) {
    NamedParams named = read_named(*optimizer, "/optimizer", stored, problems);
    spec.optimizer = std::move(named.name);
    spec.optimizer_params = std::move(named.params);
    spec.optimizer_revision = named.revision;
  }
  if (const json* evaluator = reader.require("evaluator")) {
    NamedParams named = read_named(*evaluator, "/evaluator", false, problems);
    spec.evaluator = std::move(named.name);
    spec.evaluator_params = std::move(named.params);
  }
  if (const json* space = reader.find("space")) {
    raw.has_space = true;
    if (auto parameters = keep(parameters_from_json(*space, "/space"), problems)) {
      if (parameters->size() > max_parameters) {
        reader.refuse("space", "has more than " + std::to_string(max_parameters) + " parameters");
      } else if (auto made = keep(SearchSpace::make(std::move(*parameters)), problems)) {
        spec.space = std::move(*made);
      }
    }
  }
  if (const json* objectives = reader.find("objectives")) {
    raw.has_objectives = true;
    if (auto list = keep(objectives_from_json(*objectives, "/objectives"), problems)) {
      spec.objectives = std::move(*list);
      if (spec.objectives.empty() || spec.objectives.size() > max_objectives) {
        reader.refuse("objectives", "needs 1 to " + std::to_string(max_objectives) + " objectives");
      }
    }
  }
  if (const json* budget = reader.find("budget")) spec.budget = read_budget(*budget, problems);
  if (const auto parallelism = reader.count("parallelism")) {
    raw.has_parallelism = true;
    spec.parallelism = *parallelism;
    if (*parallelism < 1 || *parallelism > max_parallelism) {
      reader.refuse("parallelism", "must be between 1 and " + std::to_string(max_parallelism));
    }
  }
  if (const auto seed = reader.count("seed")) {
    spec.seed = *seed;
    if (*seed > max_exact_seed) reader.refuse("seed", "must be less than 2^53");
  } else {
    std::random_device entropy;
    spec.seed = (static_cast<std::uint64_t>(entropy()) << 21) ^ entropy();
  }
  if (const auto timeout = reader.number("trial_timeout_s")) {
    spec.trial_timeout_s = *timeout;
    if (*timeout < 0) reader.refuse("trial_timeout_s", "must not be negative; 0 is unlimited");
  }
  if (const auto attempts = reader.count("max_attempts")) {
    spec.max_attempts = static_cast<std::uint32_t>(*attempts);
    if (*attempts < 1 || *attempts > 100) reader.refuse("max_attempts", "must be 1 to 100");
  }
  if (const auto share = reader.number("max_failure_share")) {
    spec.max_failure_share = *share;
    if (!(*share >= 0 && *share <= 1)) {
      reader.refuse("max_failure_share", "must be between 0 and 1; 1 never pauses the job");
    }
  }
  if (const json* noise = reader.find("noise")) spec.noise = read_noise(*noise, problems);
  if (const json* racing = reader.find("racing")) spec.racing = read_racing(*racing, problems);
  if (const json* import = reader.find("import")) spec.import = read_import(*import, problems);
  if (const json* stagnation = reader.find("stagnation")) {
    spec.stagnation = read_stagnation(*stagnation, problems);
  }
  raw.initial = reader.find("initial");
  reader.refuse_others();
  return raw;
}

std::string known_names(const auto& items) {
  std::string known;
  for (const auto& item : items) known += (known.empty() ? "" : ", ") + item.name;
  return known;
}

bool same_objectives(const std::vector<Objective>& a, const std::vector<Objective>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.name == y.name && x.goal == y.goal;
  });
}

/// What an attempt may use up at most: as the job says, else as the evaluator declares.  A cap on
/// tokens or money holds only if that is known.
void complete_budget(const Catalog::NamedEvaluator& evaluator, JobSpec& spec, Problems& problems) {
  const EvaluatorDescription& declared = evaluator.description;
  Budget& budget = spec.budget;
  Spend& worst = budget.worst_case;
  if (worst.seconds <= 0) worst.seconds = declared.worst_case.seconds;
  if (worst.seconds <= 0) worst.seconds = spec.trial_timeout_s;
  if (worst.tokens == 0) worst.tokens = declared.worst_case.tokens;
  if (worst.money_micros == 0) worst.money_micros = declared.worst_case.money_micros;
  const std::string unknown = "needs to know what one evaluation may use up at most: evaluator \"" +
                              evaluator.name +
                              "\" does not declare it; say it in /budget/worst_case";
  if (budget.caps.tokens > 0 && worst.tokens == 0) {
    problems.push_back({"/budget/tokens", unknown});
  }
  if (budget.caps.money_micros > 0 && worst.money_micros == 0) {
    problems.push_back({"/budget/money", unknown});
  }
  if (!declared.currency.empty() && budget.caps.money_micros == 0) {
    problems.push_back({"/budget/money", "is required: evaluator \"" + evaluator.name +
                                             "\" charges money; for instance \"5.00 " +
                                             declared.currency + "\""});
  } else if (!declared.currency.empty() && budget.currency != declared.currency) {
    problems.push_back({"/budget/money", "must be in " + declared.currency +
                                             ", which evaluator \"" + evaluator.name +
                                             "\" charges in"});
  }
}

/// What the job leaves out, the evaluator declares.
void complete_from(const Catalog::NamedEvaluator& evaluator, RawSpec& raw, Problems& problems) {
  JobSpec& spec = raw.spec;
  const EvaluatorDescription& declared = evaluator.description;
  if (!raw.has_space) {
    if (!declared.space) {
      problems.push_back({"/space", "is required: evaluator \"" + evaluator.name +
                                        "\" does not declare a search space of its own"});
    } else if (auto made = keep(SearchSpace::make(*declared.space), problems)) {
      spec.space = std::move(*made);
    }
  }
  if (!raw.has_objectives) {
    spec.objectives = declared.objectives;
    if (declared.objectives.empty()) {
      problems.push_back({"/objectives", "is required: evaluator \"" + evaluator.name +
                                             "\" does not declare objectives of its own"});
    }
  } else if (!declared.objectives.empty() &&
             !same_objectives(spec.objectives, declared.objectives)) {
    problems.push_back({"/objectives", "evaluator \"" + evaluator.name + "\" reports exactly: " +
                                           to_json(declared.objectives).dump()});
  }
  if (!raw.has_parallelism) spec.parallelism = std::max<std::size_t>(declared.slots, 1);
}

}  // namespace

bool valid_job_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
         });
}

SearchProblem JobSpec::problem() const {
  return {.space = space,
          .objectives = objectives,
          .seed = seed,
          .trials = budget.trials,
          .initial = initial,
          .noise = noise};
}

Result<JobSpec> job_spec_from_json(const json& document, const Catalog& catalog) {
  Problems problems;
  RawSpec raw = read_fields(document, /*stored=*/false, problems);
  JobSpec& spec = raw.spec;
  if (document.is_object() && document.contains("name") && !valid_job_name(spec.name)) {
    problems.push_back({"/name", "must be 1 to 64 letters, digits, '.', '_' or '-'"});
  }
  if (spec.name.empty()) spec.name = spec.optimizer.empty() ? "job" : spec.optimizer;

  const Optimizer* optimizer = catalog.optimizer(spec.optimizer);
  if (optimizer == nullptr && !spec.optimizer.empty()) {
    problems.push_back({"/optimizer", "no optimizer is called \"" + spec.optimizer +
                                          "\"; known: " + known_names(catalog.optimizers())});
  }
  const Catalog::NamedEvaluator* evaluator = catalog.evaluator(spec.evaluator);
  if (evaluator == nullptr && !spec.evaluator.empty()) {
    problems.push_back({"/evaluator", catalog.why_absent(spec.evaluator)});
  }
  if (evaluator != nullptr) {
    complete_from(*evaluator, raw, problems);
    complete_budget(*evaluator, spec, problems);
  }
  if (problems.empty() && raw.initial != nullptr) {
    spec.initial = read_initial(*raw.initial, spec.space, problems);
  }
  // The optimizer's and evaluator's own demands are asked only about a well-formed problem.
  if (problems.empty()) {
    spec.optimizer_revision = optimizer->revision;
    // With an import only the job manager knows the whole problem.
    if (spec.import.job.empty()) {
      append(problems, optimizer->check(spec.problem(), spec.optimizer_params));
    }
    append(problems, evaluator->evaluator->check({.job = "",
                                                  .space = spec.space,
                                                  .objectives = spec.objectives,
                                                  .params = spec.evaluator_params,
                                                  .seed = spec.seed}));
  }
  if (!problems.empty()) return invalid("the job spec is not valid", std::move(problems));
  return std::move(spec);
}

Result<JobSpec> stored_job_spec(const json& document) {
  Problems problems;
  RawSpec raw = read_fields(document, /*stored=*/true, problems);
  if (problems.empty() && raw.initial != nullptr) {
    raw.spec.initial = read_initial(*raw.initial, raw.spec.space, problems);
  }
  if (!problems.empty()) {
    return Error{ErrorKind::corrupt, "the stored job spec cannot be read", std::move(problems)};
  }
  return std::move(raw.spec);
}

namespace {

/// What is zero is left out.
void put_spend(json& document, const char* seconds, const Spend& spend,
               const std::string& currency) {
  if (spend.seconds > 0) document[seconds] = spend.seconds;
  if (spend.tokens > 0) document["tokens"] = spend.tokens;
  if (spend.money_micros > 0) document["money"] = money_text(spend.money_micros, currency);
}

json budget_json(const Budget& budget) {
  json document{{"trials", budget.trials}, {"wall_s", budget.wall_s}};
  put_spend(document, "evaluation_s", budget.caps, budget.currency);
  // Without a cap it matters to nobody.
  if (budget.caps == Spend{}) return document;
  json worst = json::object();
  put_spend(worst, "seconds", budget.worst_case, budget.currency);
  if (!worst.empty()) document["worst_case"] = std::move(worst);
  return document;
}

}  // namespace

json to_json(const JobSpec& spec) {
  json document{
      {"name", spec.name},
      {"space", to_json(spec.space.parameters())},
      {"objectives", to_json(spec.objectives)},
      {"optimizer",
       {{"name", spec.optimizer},
        {"revision", spec.optimizer_revision},
        {"params", to_json(spec.optimizer_params)}}},
      {"evaluator", {{"name", spec.evaluator}, {"params", to_json(spec.evaluator_params)}}},
      {"budget", budget_json(spec.budget)},
      {"parallelism", spec.parallelism},
      {"seed", spec.seed},
      {"trial_timeout_s", spec.trial_timeout_s},
      {"max_attempts", spec.max_attempts},
  };
  // Absent where the job does without, so that the logs of such jobs stay as they were.
  for (const Point& point : spec.initial) {
    document["initial"].push_back(candidate_json(spec.space, point));
  }
  if (!spec.import.job.empty()) {
    document["import"] = {{"job", spec.import.job}, {"trials", spec.import.trials}};
  }
  if (spec.max_failure_share != default_max_failure_share) {
    document["max_failure_share"] = spec.max_failure_share;
  }
  if (spec.noise.active()) {
    document["noise"] = {{"confidence", spec.noise.confidence},
                         {"replicates", spec.noise.replicates}};
  }
  if (spec.racing.active()) {
    document["racing"] = {{"confidence", spec.racing.confidence}, {"minimum", spec.racing.minimum}};
  }
  if (spec.stagnation.trials > 0) {
    document["stagnation"] = {{"trials", spec.stagnation.trials}};
    if (spec.stagnation.tolerance > 0) {
      document["stagnation"]["tolerance"] = spec.stagnation.tolerance;
    }
  }
  return document;
}

}  // namespace paretod
