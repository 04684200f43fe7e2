#pragma once
// Everything that was asked of one provider and came back, on disk: a reply is durable before it is
// scored, the intent to pay before the call, so that after a crash nothing that was answered is
// asked again, and what was paid without an answer is known.  An append-only file in the provider's
// folder, one record per line: the first 16 digits of the SHA-256 of the rest of the line, a blank,
//
//   {"e":"intent","job":job,"k":key,"m":micros,"n":tokens,"t":seconds since 1970}   at worst
//   {"e":"answer",..,"reply":{..}}      what it cost, and the reply in the form of its dialect
//   {"e":"refused",..}                  nothing was charged; closes an intent
//   {"e":"unknown",..,"why":".."}       billed as charged; nobody will learn what came of it
//   {"e":"resend",..}                   somebody decided to ask again after all
//
// The key is a content hash of whatever the answer depends on.  A line that a crash left torn does
// not match its digits and is dropped.  Intents that are open when the file is opened become
// unknown. The folder belongs to one process at a time: that makes it the place where a provider's
// limits and caps can be kept.
//
// One thread writes, many records per fdatasync; everything else is for one caller's thread, on
// which the callbacks are made too.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "optimizers/core/result.hpp"

namespace paretod::llm {

/// What a call cost, or costs at worst.
struct CallCost {
  std::int64_t micros = 0;
  std::uint64_t tokens = 0;
};

/// Of keys that are digests already, in digits: some of these will do.
struct ContentHash {
  std::size_t operator()(std::string_view key) const noexcept {
    std::uint64_t head = 0;
    std::memcpy(&head, key.data(), std::min(key.size(), sizeof head));
    return static_cast<std::size_t>(head);
  }
};

class ResponseLedger {
 public:
  /// Runs an action on the caller's thread, soon.
  using Post = std::function<void(std::function<void()>)>;
  /// False: it could not be written (a full disk).
  using Written = std::function<void(bool)>;

  /// Errors: conflict if another process has the folder; else it cannot be used.
  static Result<std::unique_ptr<ResponseLedger>> open(const std::filesystem::path& folder,
                                                      Post post);
  /// Writes what is waiting; no callback is made any more.
  ~ResponseLedger();
  ResponseLedger(const ResponseLedger&) = delete;
  ResponseLedger& operator=(const ResponseLedger&) = delete;

  enum class Known { nothing, answered, unknown };
  [[nodiscard]] Known find(const std::string& key) const;
  /// The reply of an answered key; an error if the file does not give it back.
  [[nodiscard]] Result<nlohmann::json> reply(const std::string& key) const;
  /// What the job's first answer said of the server's software; empty if the job had no answer when
  /// the ledger was opened.
  [[nodiscard]] std::string first_fingerprint(const std::string& job) const;

  void intend(const std::string& key, const std::string& job, CallCost worst, Written written);
  /// `reply`: one JSON value as text.
  void answer(const std::string& key, const std::string& job, CallCost cost, std::string_view reply,
              Written written);
  void unknown(const std::string& key, const std::string& job, CallCost worst,
               const std::string& why, Written written);
  void refused(const std::string& key, const std::string& job);
  void resend(const std::string& key, const std::string& job);
  /// Says that nothing will come soon: what waits for others to share their fdatasync is written.
  void flush();

  /// What the records say, per job and day (since 1970); money only.
  using Visit = std::function<void(const std::string& job, std::int64_t day, std::int64_t micros)>;
  void for_each_spend(const Visit& visit) const;

  struct Totals {
    std::uint64_t answers = 0;
    std::uint64_t unknown = 0;
    std::int64_t answers_micros = 0;
    std::int64_t unknown_micros = 0;
    std::uint64_t dropped = 0;    ///< torn lines
    std::uint64_t recovered = 0;  ///< intents that a crash had left open
  };
  [[nodiscard]] const Totals& totals() const;

 private:
  class State;
  explicit ResponseLedger(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace paretod::llm
