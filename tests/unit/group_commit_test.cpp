#include "daemon/store/group_commit.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/store/memory_backend.hpp"

namespace paretod {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// A gate that writes wait at, and a record of what each write held.
class Gate {
 public:
  void close() {
    const std::lock_guard lock(mutex_);
    open_ = false;
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  /// On the writer thread.
  std::optional<Error> pass(const Batch& batch) {
    std::unique_lock lock(mutex_);
    batches_.push_back(batch);
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    return refusal_;
  }
  void refuse(std::optional<Error> refusal) {
    const std::lock_guard lock(mutex_);
    refusal_ = std::move(refusal);
  }
  void wait_for_batches(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return batches_.size() >= count; });
  }
  std::vector<Batch> batches() {
    const std::lock_guard lock(mutex_);
    return batches_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  std::optional<Error> refusal_;
  std::vector<Batch> batches_;
};

/// What a listener was told.
class Commits {
 public:
  CommitListener listener() {
    return [this](const Result<EventId>& last, std::size_t events) {
      const std::lock_guard lock(mutex_);
      if (last) {
        last_ = *last;
        total_ += events;
      } else {
        errors_.push_back(last.error());
        lost_ += events;
      }
      changed_.notify_all();
    };
  }
  void wait_for(std::size_t events) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return total_ >= events; });
  }
  void wait_for_error() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !errors_.empty(); });
  }
  std::size_t total() {
    const std::lock_guard lock(mutex_);
    return total_;
  }
  std::size_t lost() {
    const std::lock_guard lock(mutex_);
    return lost_;
  }
  EventId last() {
    const std::lock_guard lock(mutex_);
    return last_;
  }
  std::vector<Error> errors() {
    const std::lock_guard lock(mutex_);
    return errors_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  EventId last_;
  std::size_t total_ = 0;
  std::size_t lost_ = 0;
  std::vector<Error> errors_;
};

class GroupCommitTest : public testing::Test {
 protected:
  EventId create(const std::string& job) {
    auto top = backend_.create(job, {"owner"});
    EXPECT_TRUE(top.ok());
    return *top;
  }
  std::vector<std::string> events(const std::string& job) {
    std::vector<std::string> found;
    EXPECT_TRUE(backend_
                    .read(job, {1, 1},
                          [&](EventId, std::string_view event) {
                            found.emplace_back(event);
                            return true;
                          })
                    .ok());
    return found;
  }

  Gate gate_;
  MemoryBackend backend_{[this](std::size_t, const Batch& batch) { return gate_.pass(batch); }};
};

TEST_F(GroupCommitTest, EventsBecomeDurableInTheOrderOfCalls) {
  Commits commits;
  GroupCommit group(backend_);
  const auto log = group.open("a", create("a"), commits.listener());
  log->append("x");
  log->append("y");
  log->append("z");
  commits.wait_for(3);
  EXPECT_EQ(commits.last(), (EventId{1, 4}));
  EXPECT_THAT(events("a"), ElementsAre("x", "y", "z"));
}

TEST_F(GroupCommitTest, WhatGathersDuringAWriteGoesTogether) {
  Commits commits;
  GroupCommit group(backend_);
  const auto log = group.open("a", create("a"), commits.listener());
  gate_.close();
  log->append("0");
  gate_.wait_for_batches(1);
  for (int i = 1; i <= 300; ++i) log->append(std::to_string(i));
  EXPECT_EQ(log->backlog(), 301u);
  EXPECT_EQ(commits.total(), 0u);
  gate_.open();
  commits.wait_for(301);
  const auto batches = gate_.batches();
  ASSERT_EQ(batches.size(), 3u);
  EXPECT_EQ(batches[0].events.size(), 1u);
  EXPECT_EQ(batches[1].events.size(), max_batch_events);
  EXPECT_EQ(batches[1].previous, batches[0].last);
  EXPECT_EQ(batches[2].events.size(), 300 - max_batch_events);
  EXPECT_EQ(batches[2].last, (EventId{1, 302}));
  const auto found = events("a");
  ASSERT_EQ(found.size(), 301u);
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i], std::to_string(i));
}

TEST_F(GroupCommitTest, BatchesStayBelowTheByteLimit) {
  Commits commits;
  GroupCommit group(backend_);
  const auto log = group.open("a", create("a"), commits.listener());
  gate_.close();
  log->append("0");
  gate_.wait_for_batches(1);
  const std::string half(max_batch_bytes / 2, 'h');
  const std::string huge(max_batch_bytes * 2, 'H');
  for (const std::string& event : {half, half, half, huge, half}) log->append(event);
  gate_.open();
  commits.wait_for(6);
  std::vector<std::size_t> sizes;
  for (const Batch& batch : gate_.batches()) sizes.push_back(batch.events.size());
  EXPECT_THAT(sizes, ElementsAre(1, 2, 1, 1, 1));
  EXPECT_THAT(events("a"), ElementsAre("0", half, half, half, huge, half));
}

TEST_F(GroupCommitTest, LazyEventsWaitForTheNextOne) {
  Commits commits;
  GroupCommit group(backend_);
  const auto lazy = group.open("lazy", create("lazy"), commits.listener());
  Commits other_commits;
  const auto other = group.open("other", create("other"), other_commits.listener());
  lazy->append_lazily("x");
  lazy->append_lazily("y");
  // A whole round of another log passes without them.
  other->append("z");
  other_commits.wait_for(1);
  EXPECT_EQ(commits.total(), 0u);
  EXPECT_EQ(lazy->backlog(), 2u);
  lazy->append("z");
  commits.wait_for(3);
  EXPECT_THAT(events("lazy"), ElementsAre("x", "y", "z"));
  EXPECT_EQ(gate_.batches().size(), 2u);
}

TEST_F(GroupCommitTest, LazyEventsBehindAnUrgentOneTravelWithItOrWait) {
  Commits commits;
  GroupCommit group(backend_);
  const auto log = group.open("a", create("a"), commits.listener());
  gate_.close();
  log->append("0");
  gate_.wait_for_batches(1);
  log->append_lazily("1");
  gate_.open();
  commits.wait_for(1);
  // Behind the write it waits on.
  EXPECT_EQ(log->backlog(), 1u);
  log->append("2");
  commits.wait_for(3);
  EXPECT_EQ(gate_.batches().size(), 2u);
}

TEST_F(GroupCommitTest, ManyLazyEventsGoByThemselves) {
  Commits commits;
  GroupCommit group(backend_);
  const auto log = group.open("a", create("a"), commits.listener());
  for (std::size_t i = 0; i < max_batch_events; ++i) log->append_lazily("x");
  commits.wait_for(max_batch_events);
  EXPECT_EQ(log->backlog(), 0u);
}

TEST_F(GroupCommitTest, ADroppedHandleFinishesItsQueue) {
  Commits commits;
  GroupCommit group(backend_);
  auto log = group.open("a", create("a"), commits.listener());
  log->append_lazily("x");
  log.reset();
  commits.wait_for(1);
  EXPECT_THAT(events("a"), ElementsAre("x"));
}

TEST_F(GroupCommitTest, AForgottenLogReleasesItsListener) {
  GroupCommit group(backend_);
  auto watched = std::make_shared<int>(0);
  std::promise<void> committed;
  auto log = group.open(
      "a", create("a"),
      [watched, &committed](const Result<EventId>&, std::size_t) { committed.set_value(); });
  log->append("x");
  committed.get_future().wait();
  log.reset();
  // The writer lets go at the latest when it has finished a further round.
  Commits commits;
  const auto other = group.open("other", create("other"), commits.listener());
  other->append("y");
  commits.wait_for(1);
  EXPECT_EQ(watched.use_count(), 1);
}

TEST_F(GroupCommitTest, TheDestructorWritesWhatIsQueued) {
  Commits commits;
  std::shared_ptr<GroupCommit::Log> log;
  {
    GroupCommit group(backend_);
    log = group.open("a", create("a"), commits.listener());
    for (int i = 0; i < 1000; ++i) log->append("x");
    log->append_lazily("lazy");
  }
  EXPECT_EQ(commits.total(), 1001u);
  log->append("too late");
  EXPECT_EQ(log->backlog(), 0u);
  EXPECT_EQ(events("a").size(), 1001u);
}

TEST_F(GroupCommitTest, ALostLogIsToldOnceAndTakesNothingMore) {
  Commits commits;
  GroupCommit group(backend_);
  const auto log = group.open("a", create("a"), commits.listener());
  ASSERT_TRUE(backend_.take_over("a", "second").ok());
  gate_.close();
  log->append("x");
  gate_.wait_for_batches(1);
  log->append("y");
  gate_.open();
  commits.wait_for_error();
  EXPECT_EQ(commits.errors().front().kind, ErrorKind::conflict);
  EXPECT_EQ(commits.lost(), 2u);
  log->append("z");
  EXPECT_EQ(log->backlog(), 0u);
  // Another log goes on.
  Commits other_commits;
  const auto other = group.open("other", create("other"), other_commits.listener());
  other->append("x");
  other_commits.wait_for(1);
  EXPECT_EQ(commits.errors().size(), 1u);
  EXPECT_THAT(events("a"), ElementsAre("second"));
}

TEST_F(GroupCommitTest, AFailureAtAnyWriteKeepsThePrefix) {
  for (std::size_t nth = 1; nth <= 4; ++nth) {
    MemoryBackend backend([nth](std::size_t number, const Batch&) {
      return number == nth ? std::optional<Error>(Error{ErrorKind::unavailable, "disk full"})
                           : std::nullopt;
    });
    ASSERT_TRUE(backend.create("a", {"owner"}).ok());
    Commits commits;
    GroupCommit group(backend);
    const auto log = group.open("a", {1, 1}, commits.listener());
    for (std::size_t i = 1; i < nth; ++i) {
      log->append("x");
      commits.wait_for(i);
    }
    log->append("lost");
    commits.wait_for_error();
    EXPECT_EQ(commits.total(), nth - 1);
    EXPECT_EQ(commits.lost(), 1u);
    auto top = backend.read("a", {}, [](EventId, std::string_view) { return true; });
    EXPECT_EQ(top->number, nth);
  }
}

TEST_F(GroupCommitTest, CloseEndsWhatCannotBeWritten) {
  Commits commits;
  {
    GroupCommit group(backend_);
    const auto log = group.open("a", create("a"), commits.listener());
    backend_.close();
    log->append("x");
  }
  ASSERT_EQ(commits.errors().size(), 1u);
  EXPECT_EQ(commits.errors().front().kind, ErrorKind::unavailable);
}

TEST_F(GroupCommitTest, AListenerMayAppend) {
  GroupCommit group(backend_);
  std::shared_ptr<GroupCommit::Log> log;
  std::promise<void> finished;
  std::size_t left = 50;
  log = group.open("a", create("a"), [&](const Result<EventId>&, std::size_t events) {
    for (std::size_t i = 0; i < events; ++i) {
      if (left == 0) return finished.set_value();
      --left;
      log->append(std::to_string(left));
    }
  });
  log->append("first");
  finished.get_future().wait();
  EXPECT_EQ(events("a").size(), 51u);
}

TEST_F(GroupCommitTest, ManyProducersOfManyLogs) {
  constexpr std::size_t logs = 3;
  constexpr std::size_t producers = 4;
  constexpr std::size_t each = 500;
  std::vector<Commits> commits(logs);
  {
    GroupCommit group(backend_);
    std::vector<std::shared_ptr<GroupCommit::Log>> handles;
    for (std::size_t j = 0; j < logs; ++j) {
      const std::string job = std::to_string(j);
      handles.push_back(group.open(job, create(job), commits[j].listener()));
    }
    std::vector<std::thread> threads;
    for (std::size_t p = 0; p < producers; ++p) {
      threads.emplace_back([&handles, p] {
        for (std::size_t i = 0; i < each; ++i) {
          for (const auto& log : handles) {
            std::string event = std::to_string(p) + ":" + std::to_string(i);
            if (i % 3 == 0) {
              log->append_lazily(std::move(event));
            } else {
              log->append(std::move(event));
            }
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  for (std::size_t j = 0; j < logs; ++j) {
    EXPECT_EQ(commits[j].total(), producers * each);
    std::map<std::string, std::size_t> next;
    for (const std::string& event : events(std::to_string(j))) {
      const std::size_t colon = event.find(':');
      EXPECT_EQ(event.substr(colon + 1), std::to_string(next[event.substr(0, colon)]++));
    }
    for (const auto& [producer, count] : next) EXPECT_EQ(count, each) << producer;
    EXPECT_EQ(next.size(), producers);
  }
  // Each write holds a log at most once, and continues where the one before ended.
  std::map<std::string, EventId> tops;
  for (const Batch& batch : gate_.batches()) {
    const auto [at, is_first] = tops.try_emplace(batch.job, EventId{1, 1});
    EXPECT_EQ(batch.previous, at->second);
    at->second = batch.last;
  }
}

}  // namespace
}  // namespace paretod
