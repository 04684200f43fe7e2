// What stands between an LLM evaluator and its provider: governor, prices and caps, ledger.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>

#include "evaluators/llm/governor.hpp"
#include "evaluators/llm/prices.hpp"
#include "evaluators/llm/response_ledger.hpp"
#include "tests/support/scratch_directory.hpp"

namespace paretod::llm {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

// ---- governor
// ------------------------------------------------------------------------------------

/// Sends as soon as it may, each request ending after `latency`; the times of sending.
std::deque<double> sent_until(Governor& governor, double end, double tokens = 0) {
  std::deque<double> times;
  for (double now = 0; now < end;) {
    const double wait = governor.wait(now);
    if (wait > 0) {
      now += wait;
      continue;
    }
    governor.sent(now, tokens);
    governor.ended();
    governor.answered(tokens, tokens);
    times.push_back(now);
  }
  return times;
}

TEST(Governor, UsesAlmostAllOfALimitAndNeverMoreInAnyMinute) {
  for (const double limit : {7.0, 60.0, 600.0, 6000.0}) {
    Governor governor({.requests_per_min = limit, .concurrency = 4});
    const std::deque<double> times = sent_until(governor, 180);
    std::size_t most = 0;
    for (std::size_t first = 0, last = 0; last < times.size(); ++last) {
      while (times[last] - times[first] >= 60) ++first;
      most = std::max(most, last - first + 1);
    }
    EXPECT_LE(static_cast<double>(most), limit) << limit;
    EXPECT_GE(static_cast<double>(times.size()), 0.97 * 3 * limit) << limit;
  }
}

TEST(Governor, CountsTokensAndCorrectsWhatWasEstimated) {
  Governor governor({.tokens_per_min = 6000, .concurrency = 1});
  EXPECT_NEAR(static_cast<double>(sent_until(governor, 60, 100).size()), 60, 2);
  Governor frugal({.tokens_per_min = 6000, .concurrency = 1});
  int sent = 0;
  for (double now = 0; now < 60;) {
    const double wait = frugal.wait(now);
    now += wait;
    if (wait > 0) continue;
    frugal.sent(now, 100);
    frugal.ended();
    frugal.answered(100, 50);  // half of what was feared
    ++sent;
  }
  EXPECT_NEAR(sent, 120, 3);
}

TEST(Governor, HalvesOnRefusalsOncePerPauseAndComesBack) {
  Governor governor({.concurrency = 16});
  for (int i = 0; i < 16; ++i) governor.sent(0, 0);
  EXPECT_EQ(governor.wait(0), std::numeric_limits<double>::infinity());
  // All sixteen are refused together.
  for (int i = 0; i < 16; ++i) {
    governor.ended();
    EXPECT_NEAR(governor.throttled(1, 5.0, 0), 5, 1e-9);
  }
  EXPECT_EQ(governor.concurrency(), 8);
  EXPECT_NEAR(governor.wait(2), 4, 1e-9);
  EXPECT_EQ(governor.wait(6), 0);
  for (int i = 0; i < 200; ++i) governor.answered(0, 0);
  EXPECT_EQ(governor.concurrency(), 16);
}

TEST(Governor, BacksOffExponentiallyWhereNobodySaysHowLong) {
  Governor governor({.concurrency = 2});
  double now = 0;
  std::vector<double> pauses;
  for (int i = 0; i < 7; ++i) {
    governor.sent(now, 0);
    governor.ended();
    pauses.push_back(governor.throttled(now, {}, 0));
    now += pauses.back();
  }
  EXPECT_THAT(pauses, ::testing::ElementsAre(0.5, 1, 2, 4, 8, 8, 8));
  governor.answered(0, 0);
  EXPECT_EQ(governor.throttled(now, {}, 0), 0.5);
  EXPECT_EQ(governor.concurrency(), 1);
}

// ---- money
// ---------------------------------------------------------------------------------------

TEST(Prices, ReadsDecimalsExactly) {
  EXPECT_EQ(micros_of("0.15"), 150'000);
  EXPECT_EQ(micros_of("3"), 3'000'000);
  EXPECT_EQ(micros_of("0.000001"), 1);
  for (const char* bad : {"", ".5", "1.", "-1", "1e3", "1,5", "0.0000001", " 1", "1234567890123"}) {
    EXPECT_FALSE(micros_of(bad)) << bad;
  }
  EXPECT_EQ(decimal_of(150'000), "0.15");
  EXPECT_EQ(decimal_of(5'000'000), "5.00");
  EXPECT_EQ(decimal_of(1), "0.000001");
}

TEST(Prices, RoundUpAndCountCachedTokensOnce) {
  const Prices prices{"v", "USD", 150'000, 75'000, 600'000};
  EXPECT_EQ(prices.cost({1'000'000, 0, 0}), 150'000);
  EXPECT_EQ(prices.cost({1, 0, 0}), 1);
  EXPECT_EQ(prices.cost({1'000'000, 1'000'000, 500'000}), 75'000 + 37'500 + 600'000);
  // What a server says is not trusted: more cached than there were, and beyond all bounds.
  EXPECT_EQ(prices.cost({10, 0, 1'000'000}), 1);
  EXPECT_GT(prices.cost({UINT64_MAX, UINT64_MAX, UINT64_MAX}), 0);
}

TEST(Accounts, KeepDayAndJobBelowTheirCaps) {
  Accounts accounts({.day = 100, .job = 60});
  EXPECT_FALSE(accounts.reserve("a", 1, 60));
  EXPECT_THAT(accounts.reserve("a", 1, 1).value_or(""), HasSubstr("a job"));
  EXPECT_FALSE(accounts.reserve("b", 1, 40));
  EXPECT_THAT(accounts.reserve("c", 1, 1).value_or(""), HasSubstr("a day"));
  accounts.settle("a", 1, 60, 10);
  EXPECT_FALSE(accounts.reserve("a", 1, 50));
  EXPECT_THAT(accounts.reserve("a", 1, 1).value_or(""), HasSubstr("0.00001 are spent"));
  // A new day has its own cap; what is set aside counts against it.
  accounts.settle("a", 2, 50, 0);
  accounts.settle("b", 1, 40, 40);
  EXPECT_FALSE(accounts.reserve("d", 2, 60));
  EXPECT_FALSE(accounts.reserve("e", 2, 40));
  EXPECT_TRUE(accounts.reserve("f", 2, 1));
}

// ---- ledger
// --------------------------------------------------------------------------------------

/// Runs what the ledger posts, on the test's thread.
class Posted {
 public:
  ResponseLedger::Post post() {
    return [this](std::function<void()> action) {
      const std::lock_guard lock(mutex_);
      actions_.push_back(std::move(action));
      changed_.notify_one();
    };
  }
  void run_until(const bool& done) {
    while (!done) {
      std::function<void()> action;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return !actions_.empty(); });
        action = std::move(actions_.front());
        actions_.pop_front();
      }
      action();
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> actions_;
};

class LlmLedger : public ::testing::Test {
 protected:
  void open() {
    ledger_.reset();
    auto opened = ResponseLedger::open(folder(), posted_.post());
    ASSERT_TRUE(opened) << opened.error().text();
    ledger_ = std::move(*opened);
  }
  std::filesystem::path folder() const { return std::filesystem::path(scratch_.path()) / "state"; }
  std::filesystem::path file() const { return folder() / "ledger.jsonl"; }

  /// Calls something that is written, and waits until it is.
  template <class Action>
  void written(Action action) {
    bool done = false;
    action([&done](bool good) {
      EXPECT_TRUE(good);
      done = true;
    });
    posted_.run_until(done);
  }

  test::ScratchDirectory scratch_;
  Posted posted_;
  std::unique_ptr<ResponseLedger> ledger_;
};

TEST_F(LlmLedger, GivesBackWhatWasAnsweredAfterAnyNumberOfStarts) {
  open();
  EXPECT_EQ(ledger_->find("k1"), ResponseLedger::Known::nothing);
  const json reply{{"text", "line\nbreak \"quoted\" \u00e9"}, {"n", 3}};
  written([&](auto done) { ledger_->intend("k1", "job", {9, 20}, done); });
  EXPECT_EQ(ledger_->find("k1"), ResponseLedger::Known::nothing);
  written([&](auto done) { ledger_->answer("k1", "job", {5, 12}, reply.dump(), done); });
  for (int start = 0; start < 3; ++start) {
    EXPECT_EQ(ledger_->find("k1"), ResponseLedger::Known::answered);
    EXPECT_EQ(*ledger_->reply("k1"), reply);
    EXPECT_EQ(ledger_->totals().answers_micros, 5);
    EXPECT_EQ(ledger_->totals().unknown, 0U);
    open();
  }
}

TEST_F(LlmLedger, AnOpenIntentIsUnknownAfterACrashAndStaysSo) {
  open();
  written([&](auto done) { ledger_->intend("paid", "job", {9, 20}, done); });
  written([&](auto done) { ledger_->intend("closed", "job", {7, 20}, done); });
  ledger_->refused("closed", "job");
  for (int start = 0; start < 2; ++start) {
    open();
    EXPECT_EQ(ledger_->find("paid"), ResponseLedger::Known::unknown);
    EXPECT_EQ(ledger_->find("closed"), ResponseLedger::Known::nothing);
    EXPECT_EQ(ledger_->totals().unknown_micros, 9);
    EXPECT_EQ(ledger_->totals().recovered, start == 0 ? 1U : 0U);
  }
  std::int64_t spent = 0;
  ledger_->for_each_spend([&](const std::string& job, std::int64_t, std::int64_t micros) {
    EXPECT_EQ(job, "job");
    spent += micros;
  });
  EXPECT_EQ(spent, 9);
  ledger_->resend("paid", "job");
  open();
  EXPECT_EQ(ledger_->find("paid"), ResponseLedger::Known::nothing);
  EXPECT_EQ(ledger_->totals().unknown_micros, 9);  // it was billed all the same
}

TEST_F(LlmLedger, SurvivesBeingCutAnywhere) {
  open();
  for (const char* key : {"a", "b", "c"}) {
    written([&](auto done) { ledger_->intend(key, "job", {9, 20}, done); });
    written([&](auto done) {
      ledger_->answer(key, "job", {5, 12}, json{{"text", key}}.dump(), done);
    });
  }
  ledger_.reset();
  std::ifstream in(file(), std::ios::binary);
  const std::string whole{std::istreambuf_iterator<char>(in), {}};
  for (std::size_t length = 0; length <= whole.size(); length += 7) {
    std::ofstream(file(), std::ios::binary | std::ios::trunc) << whole.substr(0, length);
    open();
    std::size_t answered = 0;
    std::size_t unknown = 0;
    for (const char* key : {"a", "b", "c"}) {
      const auto known = ledger_->find(key);
      answered += known == ResponseLedger::Known::answered ? 1U : 0U;
      unknown += known == ResponseLedger::Known::unknown ? 1U : 0U;
      if (known == ResponseLedger::Known::answered) {
        EXPECT_EQ((*ledger_->reply(key))["text"], key);
      }
    }
    EXPECT_LE(unknown, 1U);
    const auto lines = static_cast<std::size_t>(
        std::count(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length), '\n'));
    EXPECT_EQ(answered, lines / 2);
    EXPECT_EQ(unknown, lines % 2);
    // What comes after the damage is read again.
    written([&](auto done) { ledger_->answer("later", "job", {1, 1}, R"({"text":"x"})", done); });
    open();
    EXPECT_EQ(ledger_->find("later"), ResponseLedger::Known::answered);
    EXPECT_EQ((*ledger_->reply("later"))["text"], "x");
  }
}

TEST_F(LlmLedger, AFlippedByteIsNoAnswer) {
  open();
  written([&](auto done) { ledger_->answer("a", "job", {5, 12}, R"({"text":"yes"})", done); });
  ledger_.reset();
  std::fstream edit(file(), std::ios::in | std::ios::out | std::ios::binary);
  edit.seekp(60);
  edit.put('#');
  edit.close();
  open();
  EXPECT_EQ(ledger_->find("a"), ResponseLedger::Known::nothing);
  EXPECT_EQ(ledger_->totals().dropped, 1U);
}

TEST_F(LlmLedger, BelongsToOneProcess) {
  open();
  const auto second = ResponseLedger::open(folder(), posted_.post());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::conflict);
}

}  // namespace
}  // namespace paretod::llm
