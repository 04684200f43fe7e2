#include "daemon/worker/spool.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/support/scratch_directory.hpp"

namespace paretod {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SpoolTest : public ::testing::Test {
 protected:
  void SetUp() override { open(); }

  /// As a process does that comes after a crash or an end.
  void open() {
    spool_.reset();
    auto opened = Spool::open(folder_, "results");
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    spool_ = std::move(*opened);
  }
  [[nodiscard]] fs::path file() const { return folder_ / "results.jsonl"; }
  [[nodiscard]] std::string content() const {
    std::ostringstream text;
    text << std::ifstream(file(), std::ios::binary).rdbuf();
    return text.str();
  }
  void set_content(const std::string& text) const {
    std::ofstream(file(), std::ios::binary | std::ios::trunc) << text;
  }
  void add(const std::string& lease, const std::string& value = "1") const {
    const auto added = spool_->add({{lease, R"({"value":)" + value + "}"}});
    ASSERT_TRUE(added.ok()) << added.error().text();
  }
  [[nodiscard]] std::vector<std::string> leases() const {
    std::vector<std::string> out;
    for (const SpooledResult& result : spool_->pending(1000, 1 << 20)) out.push_back(result.lease);
    return out;
  }

  test::ScratchDirectory scratch_;
  const fs::path folder_ = scratch_.path();
  std::unique_ptr<Spool> spool_;
};

TEST_F(SpoolTest, ResultsSurviveUntilTheyAreAcknowledged) {
  add("a", R"("Müller\n")");
  add("b");
  EXPECT_THAT(leases(), ElementsAre("a", "b"));
  open();
  EXPECT_THAT(leases(), ElementsAre("a", "b"));
  EXPECT_EQ(spool_->pending(1, 1000).at(0).message, R"({"value":"Müller\n"})");
  ASSERT_TRUE(spool_->add({{"c", "{}", "a warning\n"}}).ok());
  open();
  EXPECT_EQ(spool_->pending(9, 1000).at(2).log, "a warning\n");
  spool_->acknowledge({"c"});
  spool_->acknowledge({"a", "unheard of"});
  EXPECT_THAT(leases(), ElementsAre("b"));
  spool_->acknowledge({"b"});
  EXPECT_THAT(leases(), IsEmpty());
  EXPECT_EQ(content(), "");
  open();
  EXPECT_EQ(spool_->pending_count(), 0U);
}

TEST_F(SpoolTest, ACrashAfterReportingBringsTheResultBack) {
  add("a");
  add("b");
  spool_->acknowledge({"a"});
  open();
  EXPECT_THAT(leases(), ElementsAre("a", "b")) << "to be answered \"duplicate\"";
}

TEST_F(SpoolTest, ALineTornAnywhereIsDroppedAndTheFileGoesOn) {
  add("a");
  const std::string first = content();
  add("b");
  const std::string both = content();
  for (std::size_t cut = first.size() + 1; cut < both.size(); ++cut) {
    spool_.reset();
    set_content(both.substr(0, cut));
    open();
    ASSERT_THAT(leases(), ElementsAre("a")) << "cut at " << cut;
    ASSERT_EQ(spool_->dropped(), 1U);
    add("c");
    open();
    ASSERT_THAT(leases(), ElementsAre("a", "c")) << "cut at " << cut;
    ASSERT_EQ(spool_->dropped(), 0U);
  }
}

TEST_F(SpoolTest, ASpoiledLineDoesNotCostItsNeighbours) {
  add("a");
  add("b", "12345");
  add("c");
  std::string text = content();
  text[text.find("12345") + 2] = '9';
  spool_.reset();
  set_content(text);
  open();
  EXPECT_THAT(leases(), ElementsAre("a", "c"));
  EXPECT_EQ(spool_->dropped(), 1U);
}

TEST_F(SpoolTest, PendingIsBoundedByCountAndBytes) {
  for (const char* lease : {"a", "b", "c"}) add(lease, std::string(100, '1'));
  EXPECT_EQ(spool_->pending(2, 1000).size(), 2U);
  EXPECT_EQ(spool_->pending(9, 250).size(), 2U);
  EXPECT_EQ(spool_->pending(9, 10).size(), 1U) << "one that is too long goes alone";
}

TEST_F(SpoolTest, ALongFileIsRewrittenWhenMostOfItIsAcknowledged) {
  const std::string value = '"' + std::string(100'000, 'x') + '"';
  add("keep");
  for (int i = 0; i < 30; ++i) {
    add(std::to_string(i), value);
    spool_->acknowledge({std::to_string(i)});
  }
  EXPECT_LT(fs::file_size(file()), 1'300'000U);
  EXPECT_THAT(leases(), ElementsAre("keep"));
  add("more");
  open();
  EXPECT_EQ(leases().front(), "keep");
  EXPECT_EQ(leases().back(), "more");
}

TEST_F(SpoolTest, OneProcessAtATime) {
  const auto second = Spool::open(folder_, "results");
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().kind, ErrorKind::conflict);
  EXPECT_THAT(second.error().message, HasSubstr(folder_.string()));
}

TEST_F(SpoolTest, WhatTheDaemonCannotReadIsSetAside) {
  add("a");
  add("b", "7");
  ASSERT_TRUE(spool_->set_aside("b", "it is too long").ok());
  EXPECT_THAT(leases(), ElementsAre("a"));
  std::ostringstream text;
  text << std::ifstream(folder_ / "refused.jsonl").rdbuf();
  EXPECT_THAT(text.str(), HasSubstr(R"({"value":7})"));
  EXPECT_THAT(text.str(), HasSubstr("it is too long"));
}

/// The file of this process may not grow beyond `bytes`, as on a full disk.
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
  }
  ~FileLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileLimit(const FileLimit&) = delete;
  FileLimit& operator=(const FileLimit&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int) = nullptr;
};

TEST_F(SpoolTest, AFullDiskLosesNothingThatTheProcessStillHas) {
  add("a");
  {
    const FileLimit limit(fs::file_size(file()) + 20);
    const auto added = spool_->add({{"b", R"({"value":2})"}});
    ASSERT_FALSE(added.ok());
    EXPECT_THAT(added.error().message, HasSubstr("cannot write"));
  }
  EXPECT_THAT(leases(), ElementsAre("a", "b"));
  add("c");
  EXPECT_THAT(leases(), ElementsAre("a", "b", "c"));
  open();
  EXPECT_THAT(leases(), ElementsAre("a", "c")) << "half a line of b does not spoil c";
  EXPECT_EQ(spool_->dropped(), 0U);
}

}  // namespace
}  // namespace paretod
