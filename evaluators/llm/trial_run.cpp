#include "evaluators/llm/trial_run.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "adapters/hash/sha256.hpp"

namespace paretod::llm {
namespace {

using nlohmann::json;

/// Reports of progress per trial, about.
constexpr std::size_t reports = 20;
/// Fingerprints of one job that are told apart.
constexpr std::size_t most_fingerprints = 100;
/// Single values that one message may carry.
constexpr std::size_t most_values = 4096;

std::string job_of(const std::string& id) {
  return id.substr(0, id.find(':'));
}

Needs needs_of(const LlmConfig& config, std::size_t task) {
  Needs needs;
  for (const ObjectiveConfig& objective : config.objectives) {
    if (objective.task != task) continue;
    if (objective.scorer) needs |= objective.scorer->needs();
    if (objective.source == "output_tokens") needs.text = true;
  }
  return needs;
}

Usage operator+(const Usage& a, const Usage& b) {
  return {a.prompt_tokens + b.prompt_tokens, a.output_tokens + b.output_tokens,
          a.cached_tokens + b.cached_tokens};
}

/// Weighted mean of values, with the standard error of a ratio of means (the linearised residuals).
struct Mean {
  double value = 0;
  double error = 0;
  double weight = 1;  ///< the mean weight
};
Mean mean_of(const std::vector<Score>& scores) {
  Mean out;
  double weights = 0;
  double sum = 0;
  for (const Score& score : scores) {
    weights += score.weight;
    sum += score.weight * score.value;
  }
  const auto n = static_cast<double>(scores.size());
  out.value = sum / weights;
  out.weight = weights / n;
  double squares = 0;
  for (const Score& score : scores) {
    const double residual = score.weight * (score.value - out.value) / out.weight;
    squares += residual * residual;
  }
  out.error = scores.size() > 1 ? std::sqrt(squares / (n - 1) / n) : -1;
  return out;
}

}  // namespace

std::uint64_t tokens_bound(const LlmConfig& config, std::size_t bytes) {
  return static_cast<std::uint64_t>(
             std::ceil(config.tokens_per_byte * static_cast<double>(bytes))) +
         config.extra_tokens;
}

TrialRun::TrialRun(Workshop& workshop, Genome genome, std::string id, std::size_t split,
                   std::size_t block, std::size_t count, Say say)
    : workshop_(workshop),
      genome_(std::move(genome)),
      id_(std::move(id)),
      job_(job_of(id_)),
      split_(split),
      block_(block),
      count_(count),
      say_(std::move(say)) {
  identity_ = sha256_hex(identity_of(workshop_.config, genome_, workshop_.server).dump());
}

TrialRun::~TrialRun() = default;

void TrialRun::start() {
  selection_ = selection_of(workshop_.config, genome_);
  // The base model needs no adapter, and a prompt's genes need none either.
  if (workshop_.materialiser == nullptr || genome_.base()) {
    if (workshop_.materialiser != nullptr) {
      selection_.weights.clear();
      selection_.model = workshop_.config.server.model;
    }
    return plan();
  }
  load();
}

void TrialRun::load() {
  selection_.weights.clear();
  name_ = workshop_.run_name + "-" + std::to_string(++workshop_.last_name);
  selection_.model = name_;
  selection_.salt = identity_.substr(0, 32);
  workshop_.background->run([self = shared_from_this()] {
    auto folder = self->workshop_.materialiser->write(self->genome_, self->name_);
    self->workshop_.http.after(
        0, [self, folder = std::move(folder)]() mutable { self->loaded(std::move(folder)); });
  });
}

void TrialRun::loaded(Result<std::string> folder) {
  if (over_) return workshop_.materialiser->remove(name_);  // cancelled meanwhile
  if (!folder) return fail("failed", folder.error().text());
  Call call;
  call.key = name_;
  call.job = job_;
  call.inference = false;
  call.path = workshop_.dialect.load_route();
  call.body = json{{"lora_name", name_}, {"lora_path", *folder}}.dump();
  workshop_.loaded.insert(name_);
  submit(std::move(call), [this](const CallResult& result) {
    if (result.kind != CallResult::Kind::answered) {
      return fail("transient", "the merged adapter cannot be loaded: " + result.reason);
    }
    loaded_ = true;
    plan();
  });
}

Prompt TrialRun::prompt_of(const Item& item) const {
  const TaskConfig& task = workshop_.config.tasks[item.task];
  Prompt prompt;
  prompt.system = genome_.system != nullptr ? *genome_.system : task.system;
  if (genome_.shots != nullptr) prompt.shots = *genome_.shots;
  prompt.text = item.example->prompt;
  return prompt;
}

void TrialRun::plan() {
  const LlmConfig& config = workshop_.config;
  std::size_t longest = 0;
  for (const TaskConfig& task : config.tasks)
    longest = std::max(longest, task.splits[split_].size());
  if (count_ > 0) longest = std::min(longest, count_);
  for (std::size_t i = 0; i < longest; ++i) {
    for (std::size_t task = 0; task < config.tasks.size(); ++task) {
      const auto& examples = config.tasks[task].splits[split_];
      const std::size_t size = examples.size();
      if (i >= size) continue;
      const bool whole = count_ == 0 || count_ >= size;
      // Blocks repeat after `size` of them, so nothing overflows.
      const std::size_t first = whole ? 0 : (block_ % size) * count_ % size;
      items_.push_back({task, &examples[(first + i) % size]});
    }
  }
  for (std::size_t i = 0; i < items_.size(); ++i) {
    Item& item = items_[i];
    const Needs needs = needs_of(config, item.task);
    const Example& example = *item.example;
    const std::string context = prompt_of(item).flat();
    const auto add = [&](Part part, std::size_t choice, const std::string& before,
                         const std::string& text) {
      units_.push_back({i, part, choice, before, text});
      ++item.open;
    };
    if (needs.text) add(Part::generation, 0, "", "");
    if (needs.gold) add(Part::gold, 0, context, example.answer);
    if (needs.whole) add(Part::whole, 0, "", context + example.answer);
    for (std::size_t k = 0; needs.choices && k < example.choices.size(); ++k) {
      add(Part::choice, k, context, example.choices[k]);
      if (needs.bare_choices) add(Part::bare_choice, k, "Answer:", example.choices[k]);
    }
    item.replies.choices.resize(needs.choices ? example.choices.size() : 0);
    item.replies.bare_choices.resize(needs.bare_choices ? example.choices.size() : 0);
  }
  open_ = items_.size();
  generate_.resize(config.tasks.size());
  for (Unit& unit : units_) {
    if (over_) return;
    ask(unit);
  }
}

const TrialRun::Form& TrialRun::form_of(
    std::optional<Form>& kept, const std::function<WireRequest(const Selection&)>& make) const {
  if (kept) return *kept;
  kept.emplace(RequestTemplate(make(selection_)));
  if (!name_.empty()) {
    Selection neutral = selection_;
    neutral.model.clear();
    neutral.salt.clear();
    kept->neutral.emplace(make(neutral));
  }
  return *kept;
}

template <class Fill>
Call TrialRun::call_of(const Form& form, Fill fill) const {
  Call call;
  call.job = job_;
  call.path = form.sent.path();
  call.body = fill(form.sent);
  call.key = sha256_hex(identity_ + call.path + (form.neutral ? fill(*form.neutral) : call.body));
  return call;
}

void TrialRun::ask(Unit& unit) {
  unit.open = 1;
  if (unit.part == Part::generation) return ask_generation(unit);
  if (workshop_.dialect.scores_text() == ScoresText::whole) return ask_score(unit);
  ask_tokens(unit, unit.context, [this, &unit] {
    ask_tokens(unit, unit.context + unit.continuation, [this, &unit] { ask_each_token(unit); });
  });
}

void TrialRun::ask_generation(Unit& unit) {
  const Dialect& dialect = workshop_.dialect;
  const LlmConfig& config = workshop_.config;
  const Item& item = items_[unit.item];
  const Prompt prompt = prompt_of(item);
  const Form& form = form_of(generate_[item.task], [&](const Selection& selection) {
    Prompt open = prompt;
    open.text = text_slot;
    const bool first = needs_of(config, item.task).alternatives;
    return dialect.generate(open, genome_.sampling, selection,
                            first ? config.server.alternatives : 0);
  });
  Call call = call_of(form, [&](const RequestTemplate& made) { return made.body(prompt.text); });
  call.read = [&dialect](const JsonNode& reply) { return dialect.read_generation(reply); };
  // Each message of a chat is wrapped in a few tokens of its own.
  call.prompt_bound =
      tokens_bound(config, prompt.flat().size()) + 16 * (2 + 2 * prompt.shots.size());
  call.output_bound = genome_.sampling.max_tokens;
  submit(std::move(call), [this, &unit](const CallResult& result) {
    if (result.kind != CallResult::Kind::answered) return unit_missing(unit, result);
    unit.completion = result.completion;
    unit_done(unit);
  });
}

void TrialRun::ask_score(Unit& unit) {
  const Dialect& dialect = workshop_.dialect;
  const Form& form = form_of(score_, [&](const Selection& selection) {
    return dialect.score("", std::string(text_slot), selection);
  });
  const std::string text = unit.context + unit.continuation;
  Call call = call_of(form, [&](const RequestTemplate& made) { return made.body(text); });
  const bool has_context = !unit.context.empty();
  call.read = [&dialect, wanted = unit.continuation, has_context](const JsonNode& reply) {
    return dialect.read_score(reply, wanted, has_context);
  };
  call.prompt_bound = tokens_bound(workshop_.config, text.size());
  call.output_bound = 1;
  submit(std::move(call), [this, &unit](const CallResult& result) {
    if (result.kind != CallResult::Kind::answered || result.completion.logprobs.empty()) {
      return unit_missing(unit, result);
    }
    unit.completion = result.completion;
    unit_done(unit);
  });
}

void TrialRun::ask_tokens(Unit& unit, const std::string& text, const std::function<void()>& then) {
  if (text.empty() || workshop_.tokens.contains(text)) return then();
  Call call;
  call.key = text;
  call.job = job_;
  call.inference = false;
  const WireRequest request = workshop_.dialect.tokenize(text);
  call.path = request.path;
  call.body = request.body.dump();
  submit(std::move(call), [this, &unit, text, then](const CallResult& result) {
    if (result.kind != CallResult::Kind::answered) return unit_missing(unit, result);
    FlatJson document;
    const auto parsed = document.read(result.body, reply_limits);
    auto tokens = parsed ? workshop_.dialect.read_tokens(document.root()) : parsed.error();
    if (!tokens) {
      CallResult failed;
      failed.reason = tokens.error().message;
      return unit_missing(unit, failed);
    }
    workshop_.tokens.emplace(text, std::move(*tokens));
    then();
  });
}

void TrialRun::ask_each_token(Unit& unit) {
  const std::vector<int>& all = workshop_.tokens.at(unit.context + unit.continuation);
  static const std::vector<int> none;
  const std::vector<int>& before = unit.context.empty() ? none : workshop_.tokens.at(unit.context);
  // A token may lie across the border; it belongs to the continuation.
  const auto border = std::mismatch(before.begin(), before.end(), all.begin(), all.end()).first;
  unit.first_token = std::max<std::size_t>(1, static_cast<std::size_t>(border - before.begin()));
  unit.tokens = all;
  if (unit.first_token >= all.size()) {
    CallResult failed;
    failed.reason = "the continuation has no token that follows another one";
    return unit_missing(unit, failed);
  }
  unit.completion.logprobs.assign(all.size() - unit.first_token, 0);
  unit.completion.greedy = true;
  unit.open = all.size() - unit.first_token;
  const Dialect& dialect = workshop_.dialect;
  const Form& form = form_of(score_token_, [&](const Selection& selection) {
    return dialect.score_token(token_slot, selection, workshop_.config.server.alternatives);
  });
  for (std::size_t i = unit.first_token; i < all.size(); ++i) {
    if (over_) return;
    Call call = call_of(form, [&](const RequestTemplate& made) { return made.body(all, i); });
    const int wanted = all[i];
    // The answer holds only the wanted token's value, so it is part of the key.
    call.key = sha256_hex(call.key + std::to_string(wanted));
    call.read = [&dialect, wanted](const JsonNode& reply) {
      return dialect.read_token_score(reply, wanted);
    };
    call.prompt_bound = i + 1;
    call.output_bound = 1;
    submit(std::move(call), [this, &unit, at = i - unit.first_token](const CallResult& result) {
      if (result.kind != CallResult::Kind::answered || result.completion.logprobs.empty()) {
        return unit_missing(unit, result);
      }
      unit.completion.logprobs[at] = result.completion.logprobs[0];
      unit.completion.greedy = unit.completion.greedy && result.completion.greedy;
      unit.completion.usage = unit.completion.usage + result.completion.usage;
      if (--unit.open == 0) unit_done(unit);
    });
  }
}

void TrialRun::submit(Call call, std::function<void(const CallResult&)> then) {
  const auto self = shared_from_this();
  const bool inference = call.inference;
  auto id = std::make_shared<std::uint64_t>(0);
  *id = workshop_.caller.call(
      std::move(call), [self, id, inference, then = std::move(then)](const CallResult& result) {
        self->calls_.erase(*id);
        self->spent_.micros += result.cost.micros;
        self->spent_.tokens += result.cost.tokens;
        if (inference) ++(result.from_ledger ? self->hits_ : self->sent_);
        self->retries_ += result.retries;
        if (result.kind == CallResult::Kind::unknown) ++self->unknown_;
        self->note_fingerprint(result.completion.fingerprint);
        if (!self->over_) then(result);
      });
  calls_.insert(*id);
}

void TrialRun::note_fingerprint(const std::string& fingerprint) {
  if (fingerprint.empty()) return;
  const std::string before =
      workshop_.ledger == nullptr ? "" : workshop_.ledger->first_fingerprint(job_);
  const auto known =
      workshop_.fingerprints.try_emplace(job_, before.empty() ? fingerprint : before).first;
  auto& [first, others] = known->second;
  if (fingerprint == first) return;
  ++changed_;
  if (others.size() >= most_fingerprints || !others.insert(fingerprint).second) return;
  const auto shown = [this](const std::string& text) {
    return json(workshop_.caller.redacted(text).substr(0, 80))
        .dump(-1, ' ', true, json::error_handler_t::replace);
  };
  workshop_.warn("job " + job_ + ": the server's fingerprint was " + shown(first) + " and is " +
                 shown(fingerprint) + " in some answers: results before and after may not compare");
}

void TrialRun::unit_done(Unit& unit) {
  Item& item = items_[unit.item];
  if (item.missing) return;
  item.usage = item.usage + unit.completion.usage;
  switch (unit.part) {
    case Part::generation:
      item.replies.generation = std::move(unit.completion);
      break;
    case Part::gold:
      item.replies.gold = std::move(unit.completion);
      break;
    case Part::whole:
      item.replies.whole = std::move(unit.completion);
      break;
    case Part::choice:
      item.replies.choices[unit.choice] = std::move(unit.completion);
      break;
    case Part::bare_choice:
      item.replies.bare_choices[unit.choice] = std::move(unit.completion);
      break;
  }
  if (--item.open == 0) item_done(item);
}

void TrialRun::unit_missing(Unit& unit, const CallResult& result) {
  if (first_failure_.empty()) first_failure_ = result.reason;
  Item& item = items_[unit.item];
  // Once is enough to lose the example; its other calls end by themselves.
  if (std::exchange(item.missing, true)) return;
  item.open = 0;
  item_done(item);
}

void TrialRun::item_done(Item&) {
  --open_;
  const auto done = [](const Item& item) { return item.open == 0; };
  while (prefix_ < items_.size() && done(items_[prefix_])) ++prefix_;
  if (open_ == 0) return finish();
  report_progress();
}

void TrialRun::report_progress() {
  const std::size_t step = std::max<std::size_t>(1, items_.size() / reports);
  if (prefix_ < reported_ + step) return;
  reported_ = prefix_;
  json examples = json::object();
  json partial = measured(prefix_, examples);
  if (partial.empty()) return;
  json message{
      {"type", "progress"},
      {"done", static_cast<double>(items_.size() - open_) / static_cast<double>(items_.size())},
      {"partial", std::move(partial)}};
  if (!examples.empty()) message["examples"] = std::move(examples);
  say(std::move(message));
}

json TrialRun::measured(std::size_t count, json& examples) const {
  const LlmConfig& config = workshop_.config;
  json out = json::object();
  for (const ObjectiveConfig& objective : config.objectives) {
    std::vector<Score> scores;
    bool complete = true;
    for (std::size_t i = 0; i < count; ++i) {
      const Item& item = items_[i];
      if (item.task != objective.task) continue;
      if (item.missing) {
        complete = false;
        continue;
      }
      if (objective.scorer) {
        scores.push_back(objective.scorer->score(*item.example, item.replies));
      } else if (objective.source == "output_tokens") {
        scores.push_back({static_cast<double>(item.replies.generation->usage.output_tokens)});
      } else {
        // In the currency, per thousand examples: what it costs to ask, answered before or not.
        scores.push_back({static_cast<double>(config.prices.cost(item.usage)) / 1e3});
      }
    }
    if (scores.empty()) continue;
    const Mean mean = mean_of(scores);
    json value{{"value", mean.value}, {"n", scores.size()}};
    if (mean.error >= 0) value["stderr"] = mean.error;
    out[objective.name] = std::move(value);
    // Values by place; none where one is missing, since those after it would be compared with
    // other examples.
    if (!complete || scores.size() > most_values) continue;
    json values = json::array();
    for (const Score& score : scores) {
      values.push_back(static_cast<float>(score.value * score.weight / mean.weight));
    }
    examples[objective.name] = std::move(values);
  }
  return out;
}

json TrialRun::cost() const {
  return {{"tokens", spent_.tokens}, {"money_micros", spent_.micros}};
}

void TrialRun::finish() {
  abandon();
  std::size_t missing = 0;
  Usage usage;
  for (const Item& item : items_) {
    missing += item.missing ? 1 : 0;
    usage = usage + item.usage;
  }
  if (static_cast<double>(missing) >
      workshop_.config.missing_share * static_cast<double>(items_.size())) {
    const std::string what = std::to_string(missing) + " of " + std::to_string(items_.size()) +
                             " examples have no score; the first: " + first_failure_;
    return fail("failed", unknown_ == 0 ? what
                                        : what + "; " + std::to_string(unknown_) +
                                              " paid calls have an unknown outcome and count as "
                                              "charged");
  }
  json examples = json::object();
  json objectives = measured(items_.size(), examples);
  for (const auto& objective : objectives.items()) {
    if (!std::isfinite(objective.value()["value"].get<double>())) {
      return fail("infeasible", "the " + objective.key() + " is not finite");
    }
  }
  json message{{"type", "result"},
               {"objectives", std::move(objectives)},
               {"metrics",
                {{"n_ok", items_.size() - missing},
                 {"n_failed", missing},
                 {"used.calls", sent_},
                 {"used.ledger_hits", hits_},
                 {"used.retries", retries_},
                 {"used.prompt_tokens", usage.prompt_tokens},
                 {"used.output_tokens", usage.output_tokens},
                 {"used.cached_tokens", usage.cached_tokens},
                 {"fingerprint_changed", changed_}}},
               {"cost", cost()}};
  if (!examples.empty()) message["examples"] = std::move(examples);
  say(std::move(message));
  unload();
}

void TrialRun::abandon() {
  over_ = true;
  for (const std::uint64_t id : std::exchange(calls_, {})) {
    const CallCost open = workshop_.caller.cancel(id);
    spent_.micros += open.micros;
    spent_.tokens += open.tokens;
  }
}

void TrialRun::fail(const std::string& kind, const std::string& message) {
  abandon();
  say({{"type", "error"}, {"kind", kind}, {"message", message}, {"cost", cost()}});
  unload();
}

void TrialRun::cancel() {
  if (!over_) fail("failed", "cancelled");
}

/// Nobody waits for it: an adapter that stays loaded only fills the server's list.
void TrialRun::unload() {
  if (name_.empty()) return;
  workshop_.materialiser->remove(name_);
  if (!loaded_) return;
  Call call;
  call.key = name_;
  call.job = job_;
  call.inference = false;
  call.path = workshop_.dialect.unload_route();
  call.body = json{{"lora_name", name_}}.dump();
  workshop_.caller.call(std::move(call),
                        [&loaded = workshop_.loaded, name = name_](const CallResult& result) {
                          if (result.kind == CallResult::Kind::answered) loaded.erase(name);
                        });
}

void TrialRun::say(json message) {
  message["id"] = id_;
  say_(std::move(message));
}

CallCost worst_trial(const LlmConfig& config, const Dialect& dialect, const Caller& caller) {
  CallCost worst;
  std::size_t shots = 0;
  std::size_t shot_count = 0;
  for (const auto& [label, list] : config.prompts.shots) {
    std::size_t bytes = 0;
    for (const auto& [question, answer] : list) bytes += question.size() + answer.size() + 1;
    shots = std::max(shots, bytes);
    shot_count = std::max(shot_count, list.size());
  }
  for (std::size_t split = 0; split < split_names.size(); ++split) {
    CallCost sum;
    const auto add = [&](std::uint64_t prompt, std::uint64_t output, std::uint64_t times) {
      Call call;
      call.prompt_bound = prompt;
      call.output_bound = output;
      const CallCost one = caller.worst_of(call);
      sum.micros += one.micros * static_cast<std::int64_t>(times);
      sum.tokens += one.tokens * times;
    };
    const auto score = [&](std::size_t before, std::size_t text) {
      const std::uint64_t prompt = tokens_bound(config, before + text);
      add(prompt, 1,
          dialect.scores_text() == ScoresText::per_token ? tokens_bound(config, text) : 1);
    };
    for (std::size_t task = 0; task < config.tasks.size(); ++task) {
      const Needs needs = needs_of(config, task);
      std::size_t system = config.tasks[task].system.size();
      for (const auto& [label, text] : config.prompts.system)
        system = std::max(system, text.size());
      for (const Example& example : config.tasks[task].splits[split]) {
        const std::size_t before = system + 1 + shots + example.prompt.size();
        if (needs.text) {
          add(tokens_bound(config, before) + 16 * (2 + 2 * shot_count), config.sampling.max_tokens,
              1);
        }
        if (needs.gold) score(before, example.answer.size());
        if (needs.whole) score(0, before + example.answer.size());
        for (const std::string& choice : example.choices) {
          if (needs.choices) score(before, choice.size());
          if (needs.bare_choices) score(8, choice.size());
        }
      }
    }
    worst.micros = std::max(worst.micros, sum.micros);
    worst.tokens = std::max(worst.tokens, sum.tokens);
  }
  return worst;
}

}  // namespace paretod::llm
