// Crash at every event of a job whose attempts cost money, fail, and meet candidates again: the
// money in the log is what was charged, and nothing is charged twice.

#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/support/job_harness.hpp"

namespace paretod {
namespace {

using nlohmann::json;

constexpr std::int64_t worst_case = 1000;
constexpr std::int64_t price = 300;

/// Charges for every attempt; remembers which there were.
class Shop {
 public:
  std::unique_ptr<Catalog> catalog() {
    EvaluatorDescription description;
    description.slots = 3;
    description.paid = true;
    description.currency = "USD";
    description.version = "1";
    description.worst_case.money_micros = worst_case;
    return test_catalog(std::make_unique<FunctionEvaluator>(
        [this](const EvaluationRequest& request) { return serve(request); }, description));
  }
  /// Attempts, as often as they were made, since the last call.
  std::multiset<std::string> take_bill() {
    const std::lock_guard lock(mutex_);
    return std::exchange(bill_, {});
  }

 private:
  EvaluationReply serve(const EvaluationRequest& request) {
    {
      const std::lock_guard lock(mutex_);
      bill_.insert(request.id());
    }
    EvaluationReply reply;
    reply.outcome.objectives = {{request.candidate.point[0]}};
    if (request.trial == 5 && request.attempt == 1) {
      reply.kind = ReplyKind::transient;
      reply.outcome = Outcome::failure(TrialStatus::failed, "busy");
    }
    reply.outcome.cost.money_micros = price;
    return reply;
  }

  std::mutex mutex_;
  std::multiset<std::string> bill_;
};

const std::string job_text =
    R"({"optimizer":"random","evaluator":"test","seed":9,"parallelism":3,"space":[{"name":"x",)"
    R"("type":"integer","low":0,"high":11}],"objectives":[{"name":"a"}],)"
    R"("max_failure_share":1,"budget":{"trials":16,"money":"0.5 USD"}})";

struct Totals {
  std::int64_t money = 0;
  std::map<std::string, int> charged;  // attempts that the log charges for
};

Totals totals_of(LogBackend& backend, const std::string& id) {
  Totals totals;
  std::set<std::uint64_t> told;
  std::map<std::uint64_t, std::uint32_t> latest;
  for (const auto& [event_id, text] : raw_log(backend, id)) {
    const json event = json::parse(text);
    const std::string kind = event["e"];
    if (kind == "started") {
      EXPECT_LT(latest[event["n"]], event["a"].get<std::uint32_t>()) << "begun twice: " << text;
      latest[event["n"]] = event["a"];
    }
    if (kind == "told") {
      EXPECT_TRUE(told.insert(event["n"].get<std::uint64_t>()).second) << text;
    }
    if (kind != "told" && kind != "ended") continue;
    const std::int64_t cost = event.value("c", std::int64_t{0});
    totals.money += cost;
    if (cost == 0) {
      EXPECT_TRUE(event.contains("same")) << text;
      continue;
    }
    const std::uint32_t attempt = event.value("a", std::uint32_t{1});
    ++totals.charged[id + ":" + std::to_string(event["n"].get<std::uint64_t>()) + ":" +
                     std::to_string(attempt)];
    EXPECT_EQ(cost, event.value("st", "") == "unknown" ? worst_case : price) << text;
  }
  EXPECT_EQ(told.size(), 16U);
  return totals;
}

TEST(PaidAttempts, CrashedAtEveryEventNothingIsChargedTwice) {
  Shop shop;
  MemoryBackend backend;
  std::string id;
  {
    const auto catalog = shop.catalog();
    id = run_to_end(backend, *catalog, spec_from(job_text, *catalog));
  }
  shop.take_bill();
  const std::size_t events = raw_log(backend, id).size();
  ASSERT_GT(events, 40U);
  for (std::size_t cut = 2; cut <= events; ++cut) {
    const auto crashed = truncated(backend, id, cut);
    // What the first life had charged: at most what its log had begun.
    std::set<std::string> before;
    for (const auto& [event_id, text] : raw_log(*crashed, id)) {
      const json event = json::parse(text);
      if (event["e"] == "started") {
        before.insert(id + ":" + std::to_string(event["n"].get<std::uint64_t>()) + ":" +
                      std::to_string(event["a"].get<std::uint32_t>()));
      }
    }
    const auto catalog = shop.catalog();
    recover_to_end(*crashed, *catalog);
    const auto bill = shop.take_bill();
    for (const std::string& attempt : bill) {
      EXPECT_EQ(bill.count(attempt), 1U) << attempt;
      EXPECT_FALSE(before.contains(attempt)) << "charged in both lives: " << attempt;
    }
    const Totals totals = totals_of(*crashed, id);
    std::set<std::string> all(before);
    all.insert(bill.begin(), bill.end());
    for (const auto& [attempt, times] : totals.charged) {
      EXPECT_EQ(times, 1) << attempt;
      EXPECT_TRUE(all.contains(attempt)) << attempt;
    }
    EXPECT_EQ(totals.charged.size(), all.size()) << "crashed after event " << cut;
    JobState state;
    ASSERT_TRUE(crashed
                    ->read(id, {},
                           [&](EventId event_id, std::string_view text) {
                             return state.apply(event_id, *decode(text)).ok();
                           })
                    .ok());
    EXPECT_EQ(state.spent().money_micros, totals.money);
    EXPECT_EQ(state.held().money_micros, 0);
  }
}

}  // namespace
}  // namespace paretod
