#include "tests/functional/fake_lease_daemon.hpp"

#include <algorithm>

namespace paretod::testing {

using nlohmann::json;

namespace {

FakeReply hang_up() {
  FakeReply reply;
  reply.hang_up = true;
  return reply;
}

FakeReply problem(int status, const std::string& detail) {
  return {status, json{{"type", "/problems/x"}, {"title", "No"}, {"detail", detail}}.dump()};
}

}  // namespace

std::vector<json> FakeLeaseDaemon::bodies(const std::string& path) const {
  std::vector<json> bodies;
  for (const FakeRequest& request : requests()) {
    if (request.target == path) bodies.push_back(json::parse(request.body));
  }
  return bodies;
}

void FakeLeaseDaemon::offer(int count) {
  set([&] { offered_ = count; });
}

void FakeLeaseDaemon::cut_answers(const std::string& path, int times) {
  set([&] { cuts_[path] = times; });
}

void FakeLeaseDaemon::set_down(const std::string& path, bool down) {
  set([&] {
    if (down) {
      down_.insert(path);
    } else {
      down_.erase(path);
    }
  });
}

FakeLeaseDaemon::LeaseRecord FakeLeaseDaemon::lease(int trial) const {
  const std::lock_guard lock(mutex_);
  const auto found = leases_.find(token(trial));
  return found == leases_.end() ? LeaseRecord{} : found->second;
}

std::size_t FakeLeaseDaemon::reported() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(
      std::count_if(leases_.begin(), leases_.end(),
                    [](const auto& item) { return !item.second.results.empty(); }));
}

bool FakeLeaseDaemon::wait_for(const std::function<bool()>& condition) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::seconds(60), condition);
}

json FakeLeaseDaemon::lease_json(int trial) const {
  const std::string id = "job:" + std::to_string(trial) + ":1";
  return {{"lease", token(trial)},
          {"job", "job"},
          {"trial", trial},
          {"attempt", 1},
          {"request",
           {{"type", "evaluate"},
            {"id", id},
            {"candidate", {{"x", trial / 1024.0}, {"y", 0.5}}},
            {"replicate", 0},
            {"seed", 5},
            {"params", json::object()}}}};
}

FakeReply FakeLeaseDaemon::grant(const json& body) {
  if (lease_status_ != 200) return problem(lease_status_, "no leases for you");
  const std::string key = body.at("request");
  if (!answers_.contains(key)) {
    const int count = std::min(body.at("count").get<int>(), offered_ - granted_);
    if (count == 0 && polls_hang_ && body.at("wait_s") > 0) {
      FakeReply reply;
      reply.never = true;
      return reply;
    }
    json leases = json::array();
    for (int i = 0; i < count; ++i) {
      leases.push_back(lease_json(++granted_));
      leases_[token(granted_)].granted = true;
    }
    answers_[key] = {{"leases", leases}, {"ttl_s", ttl_s_}};
  }
  return {200, answers_[key].dump()};
}

json FakeLeaseDaemon::beat(const json& body) {
  json reply{{"ttl_s", ttl_s_}, {"cancel", json::array()}, {"gone", json::array()}};
  for (const std::string lease : body.at("leases")) {
    ++leases_[lease].beats;
    if (cancel_.contains(lease)) reply["cancel"].push_back(lease);
    if (gone_.contains(lease)) reply["gone"].push_back(lease);
  }
  for (const json& item : body.value("progress", json::array())) {
    leases_[item.at("lease")].progress.push_back(item.at("message"));
  }
  return reply;
}

FakeReply FakeLeaseDaemon::take_results(const json& body) {
  const json& results = body.at("results");
  for (const json& item : results) {
    if (refused_.contains(item.at("lease"))) return problem(422, "a result of odd form");
  }
  json statuses = json::array();
  for (const json& item : results) {
    const std::string lease = item.at("lease");
    std::string status = "unknown";
    if (leases_[lease].granted) status = leases_[lease].results.empty() ? "accepted" : "duplicate";
    leases_[lease].results.push_back(item.at("message"));
    statuses.push_back({{"lease", lease}, {"status", status}});
  }
  return {200, json{{"results", statuses}}.dump()};
}

FakeReply FakeLeaseDaemon::answer(const FakeRequest& request) {
  const std::lock_guard lock(mutex_);
  if (down_.contains(request.target)) return hang_up();
  FakeReply reply = problem(404, "no such path");
  if (request.target == "/v1/jobs/job") {
    const json spec{{"space", space_},
                    {"objectives", {{{"name", "distance"}, {"goal", "minimize"}}}}};
    reply = {200, json{{"id", "job"}, {"spec", spec}}.dump()};
  } else if (request.target == "/v1/leases") {
    reply = grant(json::parse(request.body));
  } else if (request.target == "/v1/leases:heartbeat") {
    reply = {200, beat(json::parse(request.body)).dump()};
  } else if (request.target == "/v1/leases:result") {
    reply = take_results(json::parse(request.body));
  } else if (request.target == "/v1/leases:release") {
    const json body = json::parse(request.body);
    for (const std::string lease : body.at("leases")) leases_[lease].released = true;
    reply = {200, "{}"};
  }
  changed_.notify_all();
  int& cuts = cuts_[request.target];
  return cuts > 0 && cuts-- > 0 ? hang_up() : reply;
}

}  // namespace paretod::testing
