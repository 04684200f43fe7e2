// What every LogBackend promises: each test runs on the in-memory twin and on Redis.

#include "daemon/store/log_backend.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/store/memory_backend.hpp"
#include "daemon/store/redis_backend.hpp"
#include "tests/support/redis_fixture.hpp"

namespace paretod {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class MemoryStore {
 public:
  LogBackend& backend() { return backend_; }

 private:
  MemoryBackend backend_;
};

class RedisStore {
 public:
  RedisStore() {
    RedisBackendOptions options;
    options.address = server_.address();
    auto connected = RedisBackend::connect(std::move(options));
    if (!connected) throw std::runtime_error(connected.error().message);
    backend_ = std::move(*connected);
  }
  LogBackend& backend() { return *backend_; }

 private:
  test::RedisServer server_;
  std::unique_ptr<RedisBackend> backend_;
};

/// Events as "epoch-number text".
struct Reading {
  Result<EventId> top;
  std::vector<std::string> events;
};

Reading read(LogBackend& backend, const std::string& job, EventId after = {}) {
  std::vector<std::string> events;
  auto top = backend.read(job, after, [&](EventId id, std::string_view event) {
    events.push_back(id.text() + " " + std::string(event));
    return true;
  });
  return {std::move(top), std::move(events)};
}

Batch batch(const std::string& job, EventId previous, std::vector<std::string> events) {
  const EventId last{previous.epoch, previous.number + events.size()};
  return {job, previous, last, std::move(events)};
}

Result<void> write(LogBackend& backend, const Batch& one) {
  auto answers = backend.write(std::span(&one, 1));
  EXPECT_EQ(answers.size(), 1u);
  return std::move(answers.front());
}

/// Nothing if it succeeded.
std::optional<ErrorKind> failure(const Result<void>& result) {
  return result ? std::nullopt : std::optional(result.error().kind);
}

template <class Store>
class LogBackendContract : public testing::Test {
 protected:
  LogBackend& backend() { return store_.backend(); }

 private:
  Store store_;
};

struct StoreNames {
  template <class Store>
  static std::string GetName(int) {
    return std::is_same_v<Store, MemoryStore> ? "Memory" : "Redis";
  }
};

using Stores = testing::Types<MemoryStore, RedisStore>;
TYPED_TEST_SUITE(LogBackendContract, Stores, StoreNames);

TYPED_TEST(LogBackendContract, CreatedLogReadsBack) {
  auto top = this->backend().create("a", {"owner", "created", "asked"});
  ASSERT_TRUE(top.ok());
  EXPECT_EQ(*top, (EventId{1, 3}));
  const Reading reading = read(this->backend(), "a");
  EXPECT_EQ(*reading.top, (EventId{1, 3}));
  EXPECT_THAT(reading.events, ElementsAre("1-1 owner", "1-2 created", "1-3 asked"));
}

TYPED_TEST(LogBackendContract, CreateRefusesAnExistingLogOfAnyLength) {
  for (const std::size_t length : {1, 2, 5}) {
    const std::string job = "job" + std::to_string(length);
    ASSERT_TRUE(this->backend().create(job, std::vector<std::string>(length, "first")).ok());
    const Reading before = read(this->backend(), job);
    auto again = this->backend().create(job, {"other", "other", "other"});
    ASSERT_FALSE(again.ok());
    EXPECT_EQ(again.error().kind, ErrorKind::conflict);
    EXPECT_EQ(read(this->backend(), job).events, before.events);
  }
}

TYPED_TEST(LogBackendContract, WriteAppendsInOrder) {
  ASSERT_TRUE(this->backend().create("a", {"owner"}).ok());
  ASSERT_TRUE(write(this->backend(), batch("a", {1, 1}, {"b", "c"})).ok());
  ASSERT_TRUE(write(this->backend(), batch("a", {1, 3}, {"d"})).ok());
  EXPECT_THAT(read(this->backend(), "a").events,
              ElementsAre("1-1 owner", "1-2 b", "1-3 c", "1-4 d"));
}

TYPED_TEST(LogBackendContract, ReadsBehindAnyEvent) {
  ASSERT_TRUE(this->backend().create("a", {"owner"}).ok());
  ASSERT_TRUE(write(this->backend(), batch("a", {1, 1}, {"b", "c", "d"})).ok());
  EXPECT_THAT(read(this->backend(), "a", {1, 1}).events, ElementsAre("1-2 b", "1-3 c", "1-4 d"));
  EXPECT_THAT(read(this->backend(), "a", {1, 3}).events, ElementsAre("1-4 d"));
  const Reading nothing = read(this->backend(), "a", {1, 4});
  EXPECT_THAT(nothing.events, IsEmpty());
  EXPECT_EQ(*nothing.top, (EventId{1, 4}));
  // Above the top there is nothing either; the caller compares with the top that it gets.
  const Reading above = read(this->backend(), "a", {9, 9});
  EXPECT_THAT(above.events, IsEmpty());
  EXPECT_EQ(*above.top, (EventId{1, 4}));
}

TYPED_TEST(LogBackendContract, UnknownLogsAreNotFound) {
  EXPECT_EQ(read(this->backend(), "a").top.error().kind, ErrorKind::not_found);
  EXPECT_EQ(this->backend().take_over("a", "owner").error().kind, ErrorKind::not_found);
  EXPECT_EQ(failure(write(this->backend(), batch("a", {1, 1}, {"b"}))), ErrorKind::corrupt);
  auto jobs = this->backend().jobs();
  EXPECT_THAT(*jobs, IsEmpty());
}

TYPED_TEST(LogBackendContract, ANewOwnerStartsTheNextEpoch) {
  ASSERT_TRUE(this->backend().create("a", {"owner", "b"}).ok());
  auto second = this->backend().take_over("a", "second");
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(*second, (EventId{2, 1}));
  ASSERT_TRUE(write(this->backend(), batch("a", {2, 1}, {"c"})).ok());
  auto third = this->backend().take_over("a", "third");
  ASSERT_TRUE(third.ok());
  EXPECT_EQ(*third, (EventId{3, 1}));
  EXPECT_THAT(read(this->backend(), "a").events,
              ElementsAre("1-1 owner", "1-2 b", "2-1 second", "2-2 c", "3-1 third"));
  EXPECT_THAT(read(this->backend(), "a", {1, 2}).events,
              ElementsAre("2-1 second", "2-2 c", "3-1 third"));
}

TYPED_TEST(LogBackendContract, AStaleOwnerIsRefused) {
  ASSERT_TRUE(this->backend().create("a", {"owner"}).ok());
  ASSERT_TRUE(write(this->backend(), batch("a", {1, 1}, {"b"})).ok());
  ASSERT_TRUE(this->backend().take_over("a", "second").ok());
  auto refused = write(this->backend(), batch("a", {1, 2}, {"c"}));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::conflict);
  // Not even with the very event that stands behind its own in the log.
  EXPECT_EQ(failure(write(this->backend(), batch("a", {1, 2}, {"second"}))), ErrorKind::conflict);
  EXPECT_THAT(read(this->backend(), "a").events, ElementsAre("1-1 owner", "1-2 b", "2-1 second"));
}

TYPED_TEST(LogBackendContract, ABatchSentAgainIsNotAppendedAgain) {
  ASSERT_TRUE(this->backend().create("a", {"owner"}).ok());
  const Batch twice = batch("a", {1, 1}, {"b", "c"});
  ASSERT_TRUE(write(this->backend(), twice).ok());
  EXPECT_TRUE(write(this->backend(), twice).ok());
  ASSERT_TRUE(this->backend().take_over("a", "second").ok());
  EXPECT_TRUE(write(this->backend(), twice).ok());
  EXPECT_THAT(read(this->backend(), "a").events,
              ElementsAre("1-1 owner", "1-2 b", "1-3 c", "2-1 second"));
}

TYPED_TEST(LogBackendContract, OtherContentAtTheSamePlaceIsCorruption) {
  ASSERT_TRUE(this->backend().create("a", {"owner"}).ok());
  ASSERT_TRUE(write(this->backend(), batch("a", {1, 1}, {"b", "c"})).ok());
  EXPECT_EQ(failure(write(this->backend(), batch("a", {1, 1}, {"b", "x"}))), ErrorKind::corrupt);
  // A gap would be left.
  EXPECT_EQ(failure(write(this->backend(), batch("a", {1, 9}, {"b"}))), ErrorKind::corrupt);
  EXPECT_THAT(read(this->backend(), "a").events, ElementsAre("1-1 owner", "1-2 b", "1-3 c"));
  // None of this keeps the rightful batch out.
  EXPECT_TRUE(write(this->backend(), batch("a", {1, 3}, {"d"})).ok());
}

TYPED_TEST(LogBackendContract, AMisnumberedBatchIsADefect) {
  ASSERT_TRUE(this->backend().create("a", {"owner"}).ok());
  EXPECT_EQ(failure(write(this->backend(), Batch{"a", {1, 1}, {1, 3}, {"b"}})),
            ErrorKind::internal);
  EXPECT_EQ(failure(write(this->backend(), Batch{"a", {1, 1}, {1, 1}, {}})), ErrorKind::internal);
  EXPECT_THAT(read(this->backend(), "a").events, ElementsAre("1-1 owner"));
}

TYPED_TEST(LogBackendContract, BatchesOfOneWriteAreJudgedAlone) {
  for (const char* job : {"a", "b", "c"}) ASSERT_TRUE(this->backend().create(job, {"owner"}).ok());
  ASSERT_TRUE(this->backend().take_over("b", "second").ok());
  const std::vector<Batch> batches = {batch("a", {1, 1}, {"x"}), batch("b", {1, 1}, {"x"}),
                                      batch("none", {1, 1}, {"x"}), batch("c", {1, 1}, {"x"})};
  const auto answers = this->backend().write(batches);
  ASSERT_EQ(answers.size(), 4u);
  EXPECT_TRUE(answers[0].ok());
  EXPECT_EQ(failure(answers[1]), ErrorKind::conflict);
  EXPECT_EQ(failure(answers[2]), ErrorKind::corrupt);
  EXPECT_TRUE(answers[3].ok());
  EXPECT_THAT(read(this->backend(), "a").events, ElementsAre("1-1 owner", "1-2 x"));
  EXPECT_THAT(read(this->backend(), "b").events, ElementsAre("1-1 owner", "2-1 second"));
  EXPECT_THAT(read(this->backend(), "c").events, ElementsAre("1-1 owner", "1-2 x"));
}

TYPED_TEST(LogBackendContract, ListsItsJobs) {
  ASSERT_TRUE(this->backend().create("a", {"owner"}).ok());
  ASSERT_TRUE(this->backend().create("b.2_x-y", {"owner", "created"}).ok());
  auto jobs = this->backend().jobs();
  ASSERT_TRUE(jobs.ok());
  EXPECT_THAT(*jobs, UnorderedElementsAre("a", "b.2_x-y"));
}

TYPED_TEST(LogBackendContract, KeepsAnyBytes) {
  const std::string bytes("\0\r\n*1\r\n$4\r\n\xff{}", 14);
  ASSERT_TRUE(this->backend().create("a", {"owner", ""}).ok());
  ASSERT_TRUE(write(this->backend(), batch("a", {1, 2}, {bytes, ""})).ok());
  EXPECT_THAT(read(this->backend(), "a").events,
              ElementsAre("1-1 owner", "1-2 ", "1-3 " + bytes, "1-4 "));
}

TYPED_TEST(LogBackendContract, ReadsLongLogsWholeFromAnyPlace) {
  ASSERT_TRUE(this->backend().create("a", {"0"}).ok());
  // Entries of 1 to 256 events, small and large, so that pages of every kind occur.
  EventId top{1, 1};
  std::size_t size = 1;
  while (top.number < 20'000) {
    std::vector<std::string> events;
    for (std::size_t i = 0; i < size; ++i) {
      const std::uint64_t number = top.number + i;
      events.push_back(std::to_string(number) + std::string(number % 7 == 0 ? 700 : 0, 'x'));
    }
    const Batch next = batch("a", top, std::move(events));
    ASSERT_TRUE(write(this->backend(), next).ok());
    top = next.last;
    size = size * 7 % 257;
  }
  for (const std::uint64_t after : {std::uint64_t{0}, std::uint64_t{777}, top.number - 3}) {
    std::uint64_t expected = after;
    auto end = this->backend().read(
        "a", {after == 0 ? 0u : 1u, after}, [&](EventId id, std::string_view event) {
          ++expected;
          EXPECT_EQ(id, (EventId{1, expected}));
          EXPECT_THAT(std::string(event), testing::StartsWith(std::to_string(expected - 1)));
          return true;
        });
    ASSERT_TRUE(end.ok());
    EXPECT_EQ(*end, top);
    EXPECT_EQ(expected, top.number);
  }
}

TYPED_TEST(LogBackendContract, AReaderMayEndEarly) {
  ASSERT_TRUE(this->backend().create("a", {"owner"}).ok());
  for (std::uint64_t top = 1; top < 10; top += 3) {
    ASSERT_TRUE(write(this->backend(), batch("a", {1, top}, {"x", "y", "z"})).ok());
  }
  std::size_t seen = 0;
  auto end = this->backend().read("a", {}, [&](EventId, std::string_view) { return ++seen < 5; });
  ASSERT_TRUE(end.ok());
  EXPECT_EQ(seen, 5u);
  EXPECT_GE(end->number, 6u) << "at least one beyond the last one taken";
}

TYPED_TEST(LogBackendContract, TakesTheLargestEntry) {
  ASSERT_TRUE(this->backend().create("a", {"owner"}).ok());
  const std::vector<std::string> events(max_batch_events,
                                        std::string(max_batch_bytes / max_batch_events, 'x'));
  ASSERT_TRUE(write(this->backend(), batch("a", {1, 1}, events)).ok());
  ASSERT_TRUE(write(this->backend(),
                    batch("a", {1, 1 + max_batch_events}, {std::string(4 * max_batch_bytes, 'y')}))
                  .ok());
  EXPECT_EQ(read(this->backend(), "a").events.size(), max_batch_events + 2);
}

TYPED_TEST(LogBackendContract, OfRivalOwnersEachGetsAnEpoch) {
  ASSERT_TRUE(this->backend().create("a", {"owner"}).ok());
  constexpr int rivals = 8;
  std::vector<std::uint64_t> epochs(rivals);
  std::vector<std::thread> threads;
  for (int i = 0; i < rivals; ++i) {
    threads.emplace_back([&, i] {
      auto id = this->backend().take_over("a", "rival " + std::to_string(i));
      if (id) epochs[static_cast<std::size_t>(i)] = id->epoch;
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::sort(epochs.begin(), epochs.end());
  EXPECT_THAT(epochs, ElementsAre(2, 3, 4, 5, 6, 7, 8, 9));
}

TYPED_TEST(LogBackendContract, OfRivalCreatorsOneWins) {
  constexpr int rivals = 8;
  std::atomic<int> winners = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < rivals; ++i) {
    threads.emplace_back([&, i] {
      const std::string name = std::to_string(i);
      // Of different lengths: a shorter log must not be taken for the start of a longer one.
      auto top = this->backend().create(
          "a", std::vector<std::string>(static_cast<std::size_t>(1 + i % 4), name));
      if (top) ++winners;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(winners, 1);
  const Reading reading = read(this->backend(), "a");
  ASSERT_TRUE(reading.top.ok());
  std::set<char> authors;
  for (const std::string& event : reading.events) authors.insert(event.back());
  EXPECT_EQ(authors.size(), 1u);
}

TYPED_TEST(LogBackendContract, ReadersSeeWholePrefixesWhileItIsWritten) {
  ASSERT_TRUE(this->backend().create("a", {"1"}).ok());
  std::atomic<bool> finished = false;
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      do {
        std::uint64_t expected = 0;
        auto top = this->backend().read("a", {}, [&](EventId id, std::string_view event) {
          ++expected;
          EXPECT_EQ(id.number, expected);
          EXPECT_EQ(event, std::to_string(expected));
          return true;
        });
        EXPECT_TRUE(top.ok());
        EXPECT_EQ(top->number, expected);
      } while (!finished);
    });
  }
  EventId top{1, 1};
  for (int i = 0; i < 100; ++i) {
    std::vector<std::string> events;
    for (int k = 1; k <= 1 + i % 5; ++k) events.push_back(std::to_string(top.number + k));
    const Batch next = batch("a", top, std::move(events));
    EXPECT_TRUE(write(this->backend(), next).ok());
    top = next.last;
  }
  finished = true;
  for (std::thread& reader : readers) reader.join();
}

TYPED_TEST(LogBackendContract, AfterCloseNothingIsWritten) {
  ASSERT_TRUE(this->backend().create("a", {"owner"}).ok());
  this->backend().close();
  auto refused = write(this->backend(), batch("a", {1, 1}, {"b"}));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::unavailable);
}

TYPED_TEST(LogBackendContract, SaysHowDurableItIs) {
  EXPECT_THAT(
      this->backend().durability(),
      testing::AnyOf("strict", testing::StartsWith("bounded: "), testing::StartsWith("none: ")));
}

TEST(EventIdTest, ParsesExactlyTwoNumbers) {
  EXPECT_EQ(EventId::parse("5-1234"), (EventId{5, 1234}));
  EXPECT_EQ(EventId::parse("9999999999999999999-0"), (EventId{9999999999999999999u, 0}));
  EXPECT_EQ((EventId{5, 1234}).text(), "5-1234");
  for (const char* bad : {"", "5", "-", "5-", "-5", "5-6-7", " 5-6", "5-6 ", "+5-6", "5--6",
                          "0x5-6", "*", "10000000000000000000-1", "1-10000000000000000000"}) {
    EXPECT_FALSE(EventId::parse(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace paretod
