// What attempts wrote, kept for people.

#include "daemon/store/attempt_logs.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/scratch_directory.hpp"

namespace paretod {
namespace {

TEST(AttemptLogs, KeepsTheNewestOfEachJobByAttempt) {
  const test::ScratchDirectory scratch;
  {
    AttemptLogs logs(scratch.path(), 3);
    logs.keep("job", 1, {1, "first\n"});
    logs.keep("job", 1, {2, "second\n"});
    logs.keep("other", 1, {1, "other\n"});
    logs.keep("job", 12, {1, "twelve\n"});
    logs.keep("job", 2, {1, ""});
    const auto now = logs.of("job", 1);
    ASSERT_EQ(now.size(), 2U) << "written or not";
    EXPECT_EQ(now[1].text, "second\n");
    EXPECT_TRUE(logs.of("job", 2).empty());
    EXPECT_TRUE(logs.of("nobody", 1).empty());
  }
  AttemptLogs logs(scratch.path(), 3);
  EXPECT_EQ(logs.of("job", 1).size(), 2U);
  EXPECT_EQ(logs.of("other", 1)[0].text, "other\n");
}

TEST(AttemptLogs, DropsTheOldestAcrossRestarts) {
  const test::ScratchDirectory scratch;
  for (int round = 0; round < 3; ++round) {
    AttemptLogs logs(scratch.path(), 4);
    for (int i = 0; i < 4; ++i) {
      logs.keep("job", static_cast<TrialNumber>(4 * round + i + 1), {1, "text"});
    }
  }
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& file :
       std::filesystem::directory_iterator(scratch.path() / "job")) {
    ++files;
  }
  EXPECT_EQ(files, 4U);
  const AttemptLogs logs(scratch.path(), 4);
  EXPECT_TRUE(logs.of("job", 1).empty());
  EXPECT_EQ(logs.of("job", 12).size(), 1U);
}

}  // namespace
}  // namespace paretod
