#include "daemon/cli/progress.hpp"

#include <gtest/gtest.h>

#include "daemon/cli/format.hpp"

namespace paretod::cli {
namespace {

Json running_job() {
  return Json::parse(R"({"id":"lcsc-digits-7k3fq2","status":"running","status_reason":"",
    "progress":{"told":705,"budget_trials":1500,"trials_per_second":14.53,"seconds_left":95.2,
      "front_size":1,"hypervolume":null,
      "best":{"trial":17,"objectives":{"fd":{"value":0.412345,"stderr":0.0051}}}},
    "conditions":[{"type":"Healthy","status":true,"message":""}]})");
}

TEST(CliProgress, ShowsAllWhereThereIsRoom) {
  EXPECT_EQ(progress_line(running_job(), 120),
            "lcsc-digits-7k3fq2  ██████████████░░░░░░░░░░░░░░░░  47%  705/1,500  14.53/s  "
            "fd 0.4123 ± 0.0051  1 m 35 s left");
}

TEST(CliProgress, LeavesOutWhatMattersLeast) {
  EXPECT_EQ(progress_line(running_job(), 59),
            "███▊░░░░  47%  705/1,500  fd 0.4123 ± 0.0051  1 m 35 s left");
  EXPECT_EQ(progress_line(running_job(), 48), "47%  705/1,500  1 m 35 s left");
  EXPECT_EQ(progress_line(running_job(), 20), "47%  705/1,500");
  EXPECT_EQ(progress_line(running_job(), 4), "47%");
}

TEST(CliProgress, FitsIntoEveryWidth) {
  for (std::size_t width = 1; width < 150; ++width) {
    EXPECT_LE(display_width(progress_line(running_job(), width)), width);
  }
}

TEST(CliProgress, SaysWhyAJobDoesNotGoOn) {
  Json job = running_job();
  job["status"] = "paused";
  job["status_reason"] = "lunch";
  EXPECT_EQ(progress_text(job),
            "lcsc-digits-7k3fq2 paused 705/1,500 (47%), fd 0.4123 ± 0.0051, lunch");
  EXPECT_EQ(progress_line(job, 120).find("left"), std::string::npos);
  EXPECT_NE(progress_line(job, 120).find("paused"), std::string::npos);
}

TEST(CliProgress, ShowsTroubleOfARunningJob) {
  Json job = running_job();
  job["conditions"][0] = {{"type", "Healthy"},
                          {"status", false},
                          {"message", "the evaluator digits is not configured"}};
  EXPECT_NE(progress_line(job, 120).find("the evaluator digits is not configured"),
            std::string::npos);
  EXPECT_NE(progress_line(job, 60).find("the evaluator digits"), std::string::npos);
  EXPECT_NE(progress_text(job).find("the evaluator digits is not configured"), std::string::npos);
}

TEST(CliProgress, SeveralObjectivesShowTheFront) {
  Json job = running_job();
  job["progress"]["best"] = nullptr;
  job["progress"]["front_size"] = 12;
  job["progress"]["hypervolume"] = {{"value", 0.8712}};
  EXPECT_EQ(progress_text(job),
            "lcsc-digits-7k3fq2 running 705/1,500 (47%), front of 12, hypervolume 0.8712, "
            "14.53/s, 1 m 35 s left");
}

TEST(CliProgress, AHundredPercentMeansDone) {
  Json job = running_job();
  job["progress"]["told"] = 1499;
  EXPECT_NE(progress_text(job).find("(99%)"), std::string::npos);
  job["progress"]["told"] = 1501;
  EXPECT_NE(progress_text(job).find("(100%)"), std::string::npos);
}

TEST(CliProgress, SlowJobsAreRatedPerMinute) {
  Json job = running_job();
  job["progress"]["trials_per_second"] = 0.05;
  EXPECT_NE(progress_text(job).find(", 3/min"), std::string::npos);
  job["progress"]["trials_per_second"] = 21543.3;
  EXPECT_NE(progress_text(job).find(", 21543/s"), std::string::npos);
}

TEST(CliProgress, WithoutAnythingItStillSpeaks) {
  EXPECT_EQ(progress_text(Json::parse(R"({"id":"a","status":"queued"})")), "a queued 0 trials");
  EXPECT_EQ(progress_line(Json::object(), 40), "0 trials");
}

TEST(CliProgress, BarsGrowByEighths) {
  EXPECT_EQ(progress_bar(0, 3), "░░░");
  EXPECT_EQ(progress_bar(0.5, 3), "█▌░");
  EXPECT_EQ(progress_bar(1, 3), "███");
  EXPECT_EQ(progress_bar(7, 3), "███");
}

TEST(CliProgress, KnowsWhichStatusesAreFinal) {
  for (const char* status : {"succeeded", "failed", "cancelled", "diverged"}) {
    EXPECT_TRUE(is_final(status)) << status;
  }
  for (const char* status : {"queued", "running", "paused", ""}) {
    EXPECT_FALSE(is_final(status)) << status;
  }
}

TEST(Progress, ShowsWhatOfABudgetIsSpent) {
  const Json progress =
      Json::parse(R"({"budgets":{"money":{"spent":"0.04 USD","cap":"0.05 USD"},)"
                  R"("tokens":{"spent":1200,"cap":5000},"evaluation_s":{"spent":30,"cap":60}}})");
  EXPECT_EQ(spend_text(progress),
            "0.04 USD of 0.05 USD, 1,200 of 5,000 tokens, 30 s of 1 m 00 s of evaluation");
  EXPECT_EQ(spend_text(Json::object()), "");
}

}  // namespace
}  // namespace paretod::cli
