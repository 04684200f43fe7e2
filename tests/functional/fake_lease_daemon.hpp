#pragma once
// The daemon's side of leases (DESIGN 7) for tests of workers: grants scripted trials, remembers
// what came back, and misbehaves on request.  Thread-safe.

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "tests/functional/fake_http_server.hpp"

namespace paretod::testing {

class FakeLeaseDaemon {
 public:
  /// What is known of one lease; its token is "lease-<trial>".
  struct LeaseRecord {
    bool granted = false;
    bool released = false;
    std::size_t beats = 0;
    std::vector<nlohmann::json> results;   ///< messages, repeats included
    std::vector<nlohmann::json> progress;  ///< messages
  };

  FakeLeaseDaemon() : server_([this](const FakeRequest& request) { return answer(request); }) {}

  [[nodiscard]] std::string url() const { return server_.url(); }
  [[nodiscard]] std::vector<FakeRequest> requests() const { return server_.requests(); }
  /// Bodies of the requests to one path.
  [[nodiscard]] std::vector<nlohmann::json> bodies(const std::string& path) const;

  static std::string token(int trial) { return "lease-" + std::to_string(trial); }

  // The script.  Trials 1..count of "job" over x and y in [0, 1] are there to be leased.
  void offer(int count);
  /// Requests that arrive: taken in, but instead of the answer the connection is cut.
  void cut_answers(const std::string& path, int times);
  /// Not taken in: the connection is cut, as long as `down`.
  void set_down(const std::string& path, bool down);
  /// Lease requests that find nothing are left without an answer.
  void let_polls_hang() {
    set([this] { polls_hang_ = true; });
  }
  void cancel(int trial) {
    set([&] { cancel_.insert(token(trial)); });
  }
  void forget(int trial) {
    set([&] { gone_.insert(token(trial)); });
  }
  /// Answers its result with this status of HTTP.
  void refuse_result(int trial) {
    set([&] { refused_.insert(token(trial)); });
  }
  void refuse_leases(int status) {
    set([&] { lease_status_ = status; });
  }
  void set_ttl(double ttl_s) {
    set([&] { ttl_s_ = ttl_s; });
  }
  void set_space(nlohmann::json space) {
    set([&] { space_ = std::move(space); });
  }

  [[nodiscard]] LeaseRecord lease(int trial) const;
  /// Trials with at least one result.
  [[nodiscard]] std::size_t reported() const;
  /// Waits until `condition` holds of the state; a time limit only turns a hang into a failure.
  bool wait_for(const std::function<bool()>& condition);
  bool wait_reported(std::size_t count) {
    return wait_for([this, count] { return reported() >= count; });
  }

 private:
  template <class Change>
  void set(Change change) {
    const std::lock_guard lock(mutex_);
    change();
  }
  FakeReply answer(const FakeRequest& request);
  FakeReply grant(const nlohmann::json& body);
  nlohmann::json beat(const nlohmann::json& body);
  FakeReply take_results(const nlohmann::json& body);
  [[nodiscard]] nlohmann::json lease_json(int trial) const;

  mutable std::recursive_mutex mutex_;
  std::condition_variable_any changed_;
  int offered_ = 0;
  int granted_ = 0;
  double ttl_s_ = 30;
  int lease_status_ = 200;
  bool polls_hang_ = false;
  nlohmann::json space_ = {{{"name", "x"}, {"type", "real"}, {"low", 0}, {"high", 1}},
                           {{"name", "y"}, {"type", "real"}, {"low", 0}, {"high", 1}}};
  std::map<std::string, int> cuts_;
  std::set<std::string> down_;
  std::set<std::string> cancel_;
  std::set<std::string> gone_;
  std::set<std::string> refused_;
  std::map<std::string, nlohmann::json> answers_;  ///< to lease requests, by their key
  std::map<std::string, LeaseRecord> leases_;
  FakeHttpServer server_;
};

}  // namespace paretod::testing
