#include <gtest/gtest.h>

#include <algorithm>

#include "daemon/cli/listing_view.hpp"
#include "daemon/cli/report_view.hpp"
#include "daemon/cli/result_view.hpp"

namespace paretod::cli {
namespace {

std::string joined(const Lines& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

bool holds(const Lines& lines, const std::string& part) {
  return joined(lines).find(part) != std::string::npos;
}

Json two_objectives(std::size_t points) {
  Json front = {{"job", "zdt1-abc"}, {"status", "running"}, {"trials", 705}};
  front["objectives"] =
      Json::parse(R"([{"name":"f1","goal":"minimize"},{"name":"acc","goal":"maximize"}])");
  front["points"] = Json::array();
  for (std::size_t i = 0; i < points; ++i) {
    const double x = static_cast<double>((i * 7) % points) / 100;
    front["points"].push_back({{"trial", i + 1},
                               {"candidate", {{"x", x}}},
                               {"objectives", {{"f1", {{"value", x}}}, {"acc", {{"value", x}}}}}});
  }
  return front;
}

TEST(CliCandidate, LongVectorsAreSummedUp) {
  Json alpha = Json::array();
  for (int i = 0; i < 42; ++i) alpha.push_back(-0.33 + i * (0.9 / 41));
  EXPECT_EQ(candidate_text({{"alpha", alpha}}), "42 coefficients, -0.33..0.57");
  EXPECT_EQ(candidate_text({{"alpha", alpha}, {"n", 3}}),
            "alpha: 42 coefficients, -0.33..0.57  n=3");
}

TEST(CliCandidate, EveryKindOfValue) {
  EXPECT_EQ(candidate_text(Json::parse(
                R"({"lr":0.00312345,"layers":4,"act":"relu","bias":true,"mix":[0.25,0.75],
                    "order":[3,1,2,0,4],"picks":["a","b","c","d","e"]})")),
            "lr=0.003123  layers=4  act=relu  bias=yes  mix: (0.25, 0.75)  "
            "order: 5 values, 0..4  picks: (a, b, c, d, … 5 in all)");
  EXPECT_EQ(candidate_text(nullptr), "");
}

TEST(CliCandidate, StepsOfASchedule) {
  EXPECT_EQ(candidate_text(Json::parse(R"({"schedule":[{"at":149,"mask":[]},
                    {"at":332,"mask":["a","b"]},{"at":510,"choice":"plms","mask":["a"]}]})")),
            "149 332(-2) 510/plms(-1)");
  Json steps = Json::array();
  for (int i = 0; i < 12; ++i) steps.push_back({{"at", i}, {"choice", "ddim"}});
  EXPECT_EQ(candidate_text({{"schedule", steps}}),
            "0/ddim 1/ddim 2/ddim 3/ddim 4/ddim 5/ddim 6/ddim 7/ddim 8/ddim 9/ddim … 12 in all");
}

TEST(CliCandidate, ManyParametersInTheirNaturalOrder) {
  Json candidate = Json::object();
  for (const char* name : {"x0", "x1", "x10", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9"}) {
    candidate[name] = 1;
  }
  EXPECT_EQ(candidate_text(candidate), "x0=1  x1=1  x2=1  x3=1  x4=1  x5=1  x6=1  x7=1  … 3 more");
}

TEST(CliFront, ATableWithUncertainty) {
  const Lines lines = front_view(Json::parse(R"({"job":"j","status":"succeeded","trials":1500,
        "objectives":[{"name":"fd","goal":"minimize"}],
        "points":[{"trial":17,"candidate":{"x":0.5},"objectives":{"fd":{"value":0.412345,
          "stderr":0.0051}}}],
        "recommended":{"name":"found","trial":1501,"estimates":{"fd":{"mean":0.3771,
          "stderr":0.0021}}}})"),
                                 20, {});
  EXPECT_EQ(joined(lines),
            "j (succeeded): best point after 1,500 trials\n\n"
            "trial         fd (min)  candidate\n"
            "─────  ───────────────  ─────────\n"
            "   17  0.4123 ± 0.0051  x=0.5\n\n"
            "recommended: found, trial 1501, fd 0.3771 ± 0.0021\n");
}

TEST(CliFront, ManyPointsAreThinnedEvenlyBothEndsKept) {
  const Lines lines = front_view(two_objectives(93), 10, {});
  EXPECT_EQ(lines[0], "zdt1-abc (running): front of 93 points after 705 trials");
  EXPECT_EQ(lines.size(), 2u + 2u + 10u + 1u);
  EXPECT_TRUE(holds(lines, "0.00000  x=0\n"));
  EXPECT_TRUE(holds(lines, "0.92000  x=0.92\n"));
  EXPECT_EQ(lines.back(), "(10 of 93 points, spread evenly; --limit 0 shows all)");
  EXPECT_EQ(front_view(two_objectives(93), 0, {}).size(), 2u + 2u + 93u);
  EXPECT_TRUE(holds(front_view(two_objectives(93), 1, {}), "(1 of 93 points"));
}

TEST(CliFront, RowsRunFromTheBestOfTheFirstObjective) {
  Json front = two_objectives(3);
  front["objectives"][0]["goal"] = "maximize";
  const Lines lines = front_view(front, 0, {});
  EXPECT_NE(lines[4].find("x=0.02"), std::string::npos);
  EXPECT_NE(lines[2].find("f1 (max)"), std::string::npos);
}

TEST(CliFront, ThePictureIsBesideOrBelowAndFits) {
  for (const std::size_t width : {40u, 80u, 102u, 103u, 160u}) {
    const Lines lines = front_view(two_objectives(93), 20, {width, true});
    EXPECT_TRUE(holds(lines, "•")) << width;
    const std::size_t rows = width >= 103 ? 2u + 22u + 1u : 2u + 22u + 1u + 17u + 1u;
    EXPECT_EQ(lines.size(), rows) << width;
    for (std::size_t i = 1; i + 1 < lines.size(); ++i) {
      EXPECT_LE(display_width(lines[i]), width) << lines[i];
    }
  }
  EXPECT_FALSE(holds(front_view(two_objectives(93), 20, {160, false}), "•"));
}

TEST(CliFront, TheRecommendedPointIsMarked) {
  Json front = two_objectives(9);
  front["chosen"] = front["points"][4];
  front["chosen"]["why"] = {{"sentence", "Because."}};
  const Lines chosen = front_view(front, 20, {160, true});
  EXPECT_TRUE(holds(chosen, "◆"));
  EXPECT_TRUE(holds(chosen, "Because."));
  front.erase("chosen");
  EXPECT_FALSE(holds(front_view(front, 20, {160, true}), "◆"));
  front["recommended"] = Json::parse(
      R"({"name":"found","trial":3,"estimates":{"f1":{"mean":0.02},"acc":{"mean":0.02}}})");
  EXPECT_TRUE(holds(front_view(front, 20, {160, true}), "◆"));
}

TEST(CliFront, NothingYet) {
  EXPECT_EQ(joined(front_view(two_objectives(0), 20, {80, true})),
            "zdt1-abc: nothing measured yet\n");
}

TEST(CliReport, RowsAgainstTheFirst) {
  const Json report = Json::parse(R"({"quantities":["fd","acc"],"rows":[
    {"name":"found","estimates":{"fd":{"mean":0.3771,"stderr":0.0021},"acc":{"mean":0.91,
      "stderr":0.01}},
     "difference":{"fd":{"mean":0},"acc":{"mean":0}}},
    {"name":"best_ema","estimates":{"fd":{"mean":0.4203,"stderr":0.0023},"acc":{"mean":0.9,
      "stderr":0.01}},
     "difference":{"fd":{"mean":0.0432,"stderr":0.0011},"acc":{"mean":-0.01,"stderr":0.02}}},
    {"name":"last","estimates":{"fd":{"mean":0.4763}},"difference":{"fd":{"mean":0.0992,
      "stderr":0.0011}}}]})");
  EXPECT_EQ(joined(report_view(report, Json::parse(R"([{"name":"fd"}])"))),
            "                       fd       minus found            acc     minus found\n"
            "────────  ───────────────  ────────────────  ─────────────  ──────────────\n"
            "found     0.3771 ± 0.0021                    0.910 ± 0.010\n"
            "best_ema  0.4203 ± 0.0023  +0.0432 ± 0.0011  0.900 ± 0.010  -0.010 ± 0.020\n"
            "last               0.4763  +0.0992 ± 0.0011              -               -\n"
            "\n"
            "found against best_ema: 10.3% lower in fd, not clearly different in acc\n");
  const Json two = Json::parse(R"([{"name":"fd"},{"name":"acc","goal":"maximize"}])");
  EXPECT_EQ(joined(report_view(report, two)),
            "                       fd      acc (max)\n"
            "────────  ───────────────  ─────────────\n"
            "found     0.3771 ± 0.0021  0.910 ± 0.010\n"
            "best_ema  0.4203 ± 0.0023  0.900 ± 0.010\n"
            "last               0.4763              -\n");
}

TEST(CliReport, FewMetrics) {
  const Lines lines = report_view(Json::parse(R"({"quantities":["fd","a","b","c","d"],"rows":[
    {"name":"found","estimates":{"fd":{"mean":1},"a":{"mean":2},"b":{"mean":3},"c":{"mean":4},
      "d":{"mean":5}}}]})"),
                                  Json::parse(R"([{"name":"fd"}])"));
  EXPECT_EQ(joined(lines),
            "       fd  a  b\n"
            "─────  ──  ─  ─\n"
            "found   1  2  3\n"
            "(2 more metrics with --json)\n");
}

/// The sentence under a report of one quantity, of two rows.
std::string sentence(double found, double base, const std::string& base_error,
                     const std::string& difference_error) {
  const auto mean = [](double value, const std::string& error) {
    Json out{{"mean", value}};
    if (!error.empty()) out["stderr"] = std::stod(error);
    return out;
  };
  Json report{{"quantities", {"f", "gap"}}, {"rows", Json::array()}};
  report["rows"].push_back({{"name", "found"},
                            {"estimates", {{"gap", mean(found, "")}}},
                            {"difference", {{"gap", mean(0, "")}}}});
  report["rows"].push_back({{"name", "base"},
                            {"estimates", {{"gap", mean(base, base_error)}}},
                            {"difference", {{"gap", mean(base - found, difference_error)}}}});
  const Lines lines = report_view(report, Json::parse(R"([{"name":"f"}])"));
  return lines.back();
}

TEST(CliReport, NoPercentageOfNextToNothing) {
  EXPECT_EQ(sentence(0.7, 1.7e-17, "", ""), "found against base: 0.7 higher in gap");
  EXPECT_EQ(sentence(0.7, 0, "", ""), "found against base: 0.7 higher in gap");
  EXPECT_EQ(sentence(0.7, 0.5, "", ""), "found against base: 40.0% higher in gap");
  EXPECT_EQ(sentence(0.7, 0.2, "0.2", "0.1"), "found against base: 0.5 higher in gap");
  EXPECT_EQ(sentence(0.7, 0.2, "0.01", "0.1"), "found against base: 250.0% higher in gap");
  EXPECT_EQ(sentence(-0.1, 0.2, "", ""), "found against base: 0.3 lower in gap");
  EXPECT_EQ(sentence(0, 0.2, "", ""), "found against base: 100.0% lower in gap");
  EXPECT_EQ(sentence(-0.3, -0.2, "", ""), "found against base: 50.0% lower in gap");
  EXPECT_EQ(sentence(0.7, 0.6, "0.1", "0.1"), "found against base: not clearly different in gap");
}

TEST(CliReport, AMergeOfAdapters) {
  const Json report = Json::parse(R"({
    "quantities":["loss","accuracy","n_failed","n_ok","used.calls","used.ledger_hits",
                  "used.prompt_tokens"],
    "rows":[
    {"name":"found","candidate":{"alpha.a2":0.5,"alpha.a10":0.25,"beta.a2":0.75,"beta.a10":-0.5},
     "estimates":{"loss":{"mean":1.0,"stderr":0.1},"accuracy":{"mean":0.5},"n_failed":{"mean":0},
       "n_ok":{"mean":400},"used.calls":{"mean":0},"used.ledger_hits":{"mean":400},
       "used.prompt_tokens":{"mean":1000}}},
    {"name":"base","estimates":{"loss":{"mean":2.0,"stderr":0.1},"accuracy":{"mean":0.25},
       "n_failed":{"mean":0},"n_ok":{"mean":400},"used.calls":{"mean":400},
       "used.prompt_tokens":{"mean":1000}},
     "difference":{"loss":{"mean":1.0,"stderr":0.05},"accuracy":{"mean":-0.25},
       "n_failed":{"mean":0},"n_ok":{"mean":0},"used.calls":{"mean":400}}},
    {"name":"without:a2","estimates":{"loss":{"mean":1.4},"used.calls":{"mean":800}},
     "difference":{"loss":{"mean":0.4,"stderr":0.02}}},
    {"name":"without:a10","estimates":{"loss":{"mean":0.98}},
     "difference":{"loss":{"mean":-0.02,"stderr":0.03}}}]})");
  EXPECT_EQ(joined(report_view(report, Json::parse(R"([{"name":"loss"}])"))),
            "              loss     minus found  accuracy  minus found\n"
            "─────  ───────────  ──────────────  ────────  ───────────\n"
            "found  1.00 ± 0.10                   0.50000\n"
            "base   2.00 ± 0.10  +1.000 ± 0.050   0.25000     -0.25000\n"
            "(2 more metrics with --json)\n"
            "\n"
            "found against base: 50.0% lower in loss, 100.0% higher in accuracy\n"
            "\n"
            "adapter    beta  alpha  loss without it\n"
            "───────  ──────  ─────  ───────────────\n"
            "a2        0.750  0.500   +0.400 ± 0.020\n"
            "a10      -0.500  0.250   -0.020 ± 0.030\n"
            "\n"
            "measuring these rows took 1,200 calls, 400 ledger hits, 2,000 prompt tokens\n");
  // The JSON of a job holds it where `paretod job` looks.
  const Json job{{"id", "j"}, {"status", "succeeded"}, {"report", report}};
  EXPECT_TRUE(holds(job_view(job), "a10      -0.500  0.250   -0.020 ± 0.030\n"));
}

TEST(CliReport, OfVeryManyAdaptersThoseThatWeighMost) {
  Json candidate = Json::object();
  for (int i = 0; i < 100; ++i) {
    candidate["beta.a" + std::to_string(i)] = (i % 2 == 0 ? 0.01 : -0.01) * i;
  }
  const Json report{
      {"quantities", {"loss"}},
      {"rows",
       {{{"name", "found"}, {"candidate", candidate}, {"estimates", {{"loss", {{"mean", 1}}}}}}}}};
  const Lines lines = report_view(report, Json::parse(R"([{"name":"loss"}])"));
  EXPECT_TRUE(holds(lines, "a60       0.600\na61      -0.610\n")) << joined(lines);
  EXPECT_FALSE(holds(lines, "a59"));
  EXPECT_EQ(lines.back(), "(60 more adapters, of smaller beta, with --json)");
}

TEST(CliReport, NoRowsNoTable) {
  EXPECT_TRUE(report_view(nullptr, nullptr).empty());
  EXPECT_TRUE(report_view(Json::parse(R"({"rows":[]})"), nullptr).empty());
}

TEST(CliTrials, ReasonsStandInForCandidates) {
  const Lines lines = trials_view(Json::parse(R"([
    {"number":1,"status":"ok","tag":"","candidate":{"x":1},
      "outcome":{"objectives":{"f":{"value":2}},"seconds":0.051}},
    {"number":2,"status":"failed","tag":"","candidate":{"x":2},
      "outcome":{"reason":"out of\nmemory"}},
    {"number":3,"status":"asked","tag":"","candidate":{"x":3}}])"),
                                  {});
  EXPECT_EQ(joined(lines),
            "trial  status  f     time  candidate\n"
            "─────  ──────  ─  ───────  ─────────────\n"
            "    1  ok      2  0.051 s  x=1\n"
            "    2  failed  -           out of memory\n"
            "    3  asked   -           x=3\n");
  EXPECT_EQ(joined(trials_view(Json::array(), {})), "no such trials\n");
}

TEST(CliJobs, OneLineEach) {
  const Lines lines = jobs_view(Json::parse(R"({"jobs":[
    {"id":"a-1","status":"running","create_time":"2024-11-23T18:31:02.123Z",
     "progress":{"told":5,"budget_trials":1000,"front_size":3}},
    {"id":"b-2","status":"failed","create_time":"2024-11-22T18:31:02.123Z","progress":{"told":0,
      "budget_trials":10},
     "conditions":[{"type":"Healthy","status":false,"message":"the evaluator exits at once"}]}],
    "unreadable":[{"id":"c-3","message":"event 7 is damaged"}]})"),
                                {});
  EXPECT_EQ(joined(lines),
            "job  status    trials  created (UTC)        result\n"
            "───  ───────  ───────  ───────────────────  ───────────────────────────\n"
            "a-1  running  5/1,000  2024-11-23 18:31:02  front of 3\n"
            "b-2  failed      0/10  2024-11-22 18:31:02  the evaluator exits at once\n"
            "cannot be read: c-3: event 7 is damaged\n");
  EXPECT_EQ(joined(jobs_view(Json::parse(R"({"jobs":[]})"), {})), "no jobs\n");
}

TEST(CliJob, InFull) {
  const Lines lines = job_view(Json::parse(R"({"id":"a-1","status":"paused","status_reason":"lunch",
    "spec":{"optimizer":{"name":"lcsc","revision":2,"params":{"search":"cma_es"}},
      "evaluator":"digits",
      "space":[{"name":"alpha","type":"affine","size":42},{"name":"lr","type":"real","low":0.001,
        "high":1,"log":true}],
      "objectives":[{"name":"fd","goal":"minimize"}],"seed":7},
    "progress":{"told":5,"ok":4,"failed":1,"in_flight":2,"budget_trials":1000},
    "conditions":[{"type":"Healthy","status":false,"message":"no evaluator"}],"report":null})"));
  EXPECT_EQ(lines[0], "a-1: paused (lunch)");
  EXPECT_TRUE(holds(lines, "lcsc revision 2 (search=cma_es)"));
  EXPECT_TRUE(holds(lines, "alpha affine of 42, lr real 0.001..1 log"));
  EXPECT_TRUE(holds(lines, "minimize fd"));
  EXPECT_TRUE(holds(lines, "5/1,000 told, 4 ok, 1 failed, 2 in flight"));
  EXPECT_TRUE(holds(lines, "trouble       no evaluator"));
}

TEST(CliOptimizer, ParametersWithDefaultRangeAndMeaning) {
  const Lines lines =
      optimizer_view(Json::parse(R"({"name":"lcsc","revision":1,"summary":"It searches.",
    "source":"A paper","params_schema":{"properties":{
      "population":{"description":"members kept","default":40,"type":"integer","minimum":2,
        "maximum":100},
      "search":{"description":"which way","default":"steady_state","type":"string",
        "enum":["steady_state","cma_es"]},
      "step":{"description":"first step","default":0.5,"type":"number","minimum":0},
      "seeds":{"description":"rates","default":[],"type":"array","items":{"type":"number",
        "maximum":1}},
      "trace":{"description":"say more","default":false,"type":"boolean"}}}})"),
                     {});
  EXPECT_EQ(joined(lines),
            "lcsc, revision 1\n"
            "  It searches.\n"
            "  Source: A paper\n"
            "\n"
            "parameter   default       range                  meaning\n"
            "──────────  ────────────  ─────────────────────  ────────────\n"
            "population  40            2..100                 members kept\n"
            "search      steady_state  steady_state | cma_es  which way\n"
            "step        0.5           ≥ 0                    first step\n"
            "seeds       none          ≤ 1                    rates\n"
            "trace       false         true | false           say more\n");
}

TEST(CliOptimizers, LongSummariesAreBroken) {
  const Json optimizers = Json::parse(
      R"([{"name":"a","summary":"a sentence that needs more than one line to be said in full"}])");
  const Lines lines = optimizers_view(optimizers, {40, true});
  EXPECT_GT(lines.size(), 5u);
  EXPECT_TRUE(std::all_of(lines.begin(), lines.end(),
                          [](const std::string& line) { return display_width(line) <= 40; }));
}

TEST(CliEvaluators, ShowHowBusyTheyAre) {
  EXPECT_TRUE(
      holds(evaluators_view(Json::parse(
                                R"([{"name":"digits","summary":"S","slots":4,"busy":1,"queued":3,
                "objectives":[{"name":"acc","goal":"maximize"}]}])"),
                            {}),
            "digits      1/4       3  maximize acc  S"));
}

TEST(FrontView, SaysWhatNoPointMeets) {
  Json front = two_objectives(9);
  front["points"] = Json::array();
  front["front_size"] = 9;
  front["message"] = "No point will do; trial 3 misses it by 1.";
  front["where"] = {{"constraints", {"f1 < 0"}}, {"satisfied", 0}, {"of", 9}};
  EXPECT_EQ(joined(front_view(front, 20, {80, true})),
            "zdt1-abc (running): front of 9 points after 705 trials; 0 with f1 < 0\n\n"
            "No point will do; trial 3 misses it by 1.\n");
}

TEST(FrontView, ListsWhatNothingDominatesForSure) {
  Json front = two_objectives(3);
  front["plausible"] = {{"confidence", 0.95}, {"count", 2}, {"points", Json::array()}};
  for (int i = 0; i < 2; ++i) front["plausible"]["points"].push_back(front["points"][0]);
  EXPECT_TRUE(holds(front_view(front, 0, {}),
                    "2 more points that nothing dominates with a confidence of 95%:"));
  front["plausible"] = {{"confidence", 0.95}, {"count", 0}, {"points", Json::array()}};
  EXPECT_TRUE(holds(front_view(front, 0, {}), "every other point is dominated"));
}

}  // namespace
}  // namespace paretod::cli
