#pragma once
// An inference server for tests: the request and reply shapes of one of several real servers
// (stub_api.hpp) around the toy model, with a bill of its own, limits and faults that can be
// switched while it runs.  One thread; loopback; connections are kept open.
//
// Beside the server's own routes:  GET /bill  ->  {"calls":..,"prompt_tokens":..,
//   "output_tokens":..,"money_micros":..,"requests":..,"refused":..,"most_at_once":..,
//   "repeated":..}  (calls: what is charged, whether or not the reply arrived; repeated: charged
//   requests whose body was charged before);  POST /faults merges into the faults below.
//
// {"seed":1,                            and shares of charged routes' requests, drawn from it:
//  "rate_limited":p, "rate_limited_bare":p (without Retry-After), "quota":p, "overloaded":p (529),
//  "error":p (500), "echo_key":p (401 that repeats the key),   refused, not charged;
//  "cut":p, "silence":p (headers, then nothing), "close":p (no byte), "garbage":p (no JSON),
//                                          charged;
//  "refuse_first":n                        the first n requests are answered 429;
//  "contaminate":bool                      answers from the cache of another adapter vector where
//                                          the request permits it; "contaminate_always":bool;
//  "ignore_adapters":bool, "latency_ms":ms, "fingerprint":text,
//  "pairs":bool                            llama.cpp: adapter i * N + j is B of i with A of j,
//  "requests_per_window":n, "tokens_per_window":n, "window_s":s, "at_once":n,
//  "retry_after":bool                      whether 429 says when}

#include <cstdint>
#include <memory>
#include <string>

#include "tests/support/llm/stub_api.hpp"

namespace paretod::testing {

struct StubBill {
  std::uint64_t calls = 0;
  std::uint64_t prompt_tokens = 0;
  std::uint64_t output_tokens = 0;
  std::int64_t money_micros = 0;
  std::uint64_t requests = 0;  ///< to charged routes, refused ones included
  std::uint64_t refused = 0;   ///< 429
  std::uint64_t most_at_once = 0;
  std::uint64_t repeated = 0;
};

class StubServer {
 public:
  /// `faults`: as above, JSON; "{}" for none.  `port` 0: a free one.
  StubServer(std::unique_ptr<StubApi> api, const std::string& faults = "{}", int port = 0);
  ~StubServer();
  StubServer(const StubServer&) = delete;
  StubServer& operator=(const StubServer&) = delete;

  [[nodiscard]] int port() const;
  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port()); }
  /// Any thread.
  [[nodiscard]] StubBill bill() const;
  void set_faults(const std::string& faults);
  /// Blocks until another thread destroys it; for a program whose only work it is.
  void wait();

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace paretod::testing
