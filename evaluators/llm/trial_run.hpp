#pragma once
// One candidate on one split: all calls that its scorers need, made at once so that the provider
// decides how fast they go; then means, standard errors and single values.  Lives until it has
// answered; everything happens on the HTTP client's thread.

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "adapters/llm/dialect.hpp"
#include "adapters/llm/request_template.hpp"
#include "evaluators/llm/background.hpp"
#include "evaluators/llm/caller.hpp"
#include "evaluators/llm/genome.hpp"
#include "evaluators/llm/llm_config.hpp"
#include "evaluators/llm/materialiser.hpp"

namespace paretod::llm {

/// What all runs share.
struct Workshop {
  const LlmConfig& config;
  const Dialect& dialect;
  Caller& caller;
  HttpMulti& http;
  const ResponseLedger* ledger = nullptr;      ///< null where nothing was answered before
  const Materialiser* materialiser = nullptr;  ///< null where nothing is loaded
  Background* background = nullptr;            ///< null likewise
  std::string server;                          ///< what it says it is
  std::string run_name;                        ///< of this process; names are never used twice
  std::uint64_t last_name = 0;
  std::set<std::string> loaded = {};  ///< adapters that the server may have of this process
  std::function<void(const std::string&)> warn = {};  ///< says something to the operator
  /// What a job's replies say of the server's model and software: the first, and all others.
  struct Fingerprints {
    std::string first;
    std::set<std::string> others = {};
  };
  std::unordered_map<std::string, Fingerprints> fingerprints = {};
  /// Token numbers of texts; they depend on nothing else.
  std::unordered_map<std::string, std::vector<int>> tokens = {};
};

class TrialRun : public std::enable_shared_from_this<TrialRun> {
 public:
  /// Takes a message of the evaluator protocol: progress, then one result or error.
  using Say = std::function<void(nlohmann::json)>;

  /// Of `count` examples (0: the whole split) block b begins with example b * count, and goes on
  /// from the first one where the split ends.
  TrialRun(Workshop& workshop, Genome genome, std::string id, std::size_t split, std::size_t block,
           std::size_t count, Say say);
  ~TrialRun();
  TrialRun(const TrialRun&) = delete;
  TrialRun& operator=(const TrialRun&) = delete;

  void start();
  /// Answers at once with what was spent, or may still be.
  void cancel();

 private:
  enum class Part { generation, gold, whole, choice, bare_choice };
  /// One thing to ask about an example.
  struct Unit {
    std::size_t item = 0;
    Part part = Part::gold;
    std::size_t choice = 0;
    std::string context;
    std::string continuation;
    std::vector<int> tokens = {};  ///< per_token: of both
    std::size_t first_token = 0;   ///< ... of the continuation
    Completion completion = {};
    std::size_t open = 0;  ///< calls
  };
  /// One example of one task.
  struct Item {
    std::size_t task = 0;
    const Example* example = nullptr;
    Replies replies = {};
    std::size_t open = 0;  ///< units
    bool missing = false;
    Usage usage = {};
  };
  /// A request of this candidate for another text each time.
  struct Form {
    RequestTemplate sent;
    std::optional<RequestTemplate> neutral = {};  ///< without the names of this process
  };

  void load();
  void loaded(Result<std::string> folder);
  void plan();
  void ask(Unit& unit);
  void ask_tokens(Unit& unit, const std::string& text, const std::function<void()>& then);
  void ask_each_token(Unit& unit);
  void submit(Call call, std::function<void(const CallResult&)> then);
  void ask_generation(Unit& unit);
  void ask_score(Unit& unit);
  /// `make` turns a selection into a request with a slot; it is called when `kept` is empty.
  const Form& form_of(std::optional<Form>& kept,
                      const std::function<WireRequest(const Selection&)>& make) const;
  /// `fill` makes a body of a template.  The key is that of the neutral one.
  template <class Fill>
  [[nodiscard]] Call call_of(const Form& form, Fill fill) const;
  /// Answers of another model, or of other software, may not compare with those before.
  void note_fingerprint(const std::string& fingerprint);
  void unit_done(Unit& unit);
  void unit_missing(Unit& unit, const CallResult& result);
  void item_done(Item& item);
  void report_progress();
  void finish();
  void fail(const std::string& kind, const std::string& message);
  /// Gives up what is still under way, as if it were charged.
  void abandon();
  void unload();
  void say(nlohmann::json message);
  [[nodiscard]] Prompt prompt_of(const Item& item) const;
  /// Means over the first `count` items of each task, as far as they have scores.
  [[nodiscard]] nlohmann::json measured(std::size_t count, nlohmann::json& examples) const;
  [[nodiscard]] nlohmann::json cost() const;

  Workshop& workshop_;
  const Genome genome_;
  const std::string id_;
  const std::string job_;
  const std::size_t split_;
  const std::size_t block_;
  const std::size_t count_;
  Say say_;
  std::string identity_;  ///< digest
  Selection selection_;
  std::string name_;  ///< of the adapter that was loaded for it
  bool loaded_ = false;
  std::vector<Item> items_;  ///< by example, then by task
  std::vector<Unit> units_;
  std::vector<std::optional<Form>> generate_;  ///< by task
  std::optional<Form> score_;
  std::optional<Form> score_token_;
  std::unordered_set<std::uint64_t> calls_;  ///< not ended
  std::size_t open_ = 0;                     ///< items
  std::size_t prefix_ = 0;                   ///< items from the first one on that are done
  std::size_t reported_ = 0;
  bool over_ = false;
  CallCost spent_;
  std::uint64_t sent_ = 0;
  std::uint64_t hits_ = 0;
  std::uint64_t retries_ = 0;
  std::uint64_t unknown_ = 0;
  std::uint64_t changed_ = 0;  ///< answers of another fingerprint than the job's first
  std::string first_failure_;
};

/// Tokens that a text has at most.
std::uint64_t tokens_bound(const LlmConfig& config, std::size_t bytes);
/// What a trial may cost at most, on any split.
CallCost worst_trial(const LlmConfig& config, const Dialect& dialect, const Caller& caller);

}  // namespace paretod::llm
