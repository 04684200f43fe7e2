#include "adapters/json/space_json.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "adapters/json/outcome_json.hpp"
#include "adapters/json/parse.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr const char* every_type = R"([
  {"name":"x","type":"real","low":0.001,"high":1,"log":true},
  {"name":"n","type":"integer","low":-3,"high":8},
  {"name":"activation","type":"categorical","choices":["relu","gelu","silu"]},
  {"name":"flag","type":"boolean"},
  {"name":"alpha","type":"affine","size":4,"labels":["a","b","c","ema"],
   "positions":[400,800,1200,null],"low":-2,"high":2},
  {"name":"beta","type":"affine","size":2}
])";

json document(const std::string& text) {
  return parse_json(text).value();
}

SearchSpace space_of(const std::string& text) {
  return SearchSpace::make(parameters_from_json(document(text), "/space").value()).value();
}

std::string refusal(const std::string& text) {
  const auto parameters = parameters_from_json(document(text), "/space");
  return parameters ? "accepted" : parameters.error().text();
}

TEST(SpaceJson, ReadsEveryType) {
  const SearchSpace space = space_of(every_type);
  const auto& p = space.parameters();
  EXPECT_EQ(space.dimension(), 4U + 3U + 1U);
  EXPECT_TRUE(p[0].log_scale);
  EXPECT_EQ(p[1].low, -3);
  EXPECT_EQ(p[2].choices.size(), 3U);
  EXPECT_EQ(p[4].reference(), 2U);
  EXPECT_FALSE(p[4].positions[3].has_value());
  EXPECT_EQ(p[5].low, -std::numeric_limits<double>::infinity());
}

TEST(SpaceJson, RoundTrips) {
  const auto parameters = parameters_from_json(document(every_type), "").value();
  const json once = to_json(parameters);
  EXPECT_EQ(to_json(parameters_from_json(once, "").value()), once);
  EXPECT_EQ(once, document(every_type));
}

TEST(SpaceJson, PointsAtEveryProblem) {
  const std::string text = refusal(R"([
    {"name":"x","type":"real","low":"a","hihg":1},
    {"name":"n","type":"whole"},
    {"type":"boolean","low":0},
    {"name":"c","type":"categorical","choices":["a",1]},
    {"name":"a","type":"affine","positions":["x"]},
    7])");
  EXPECT_THAT(text, HasSubstr("/space/0/low: has to be a number, not a string"));
  EXPECT_THAT(text, HasSubstr("/space/0/high: is required"));
  EXPECT_THAT(text, HasSubstr("/space/0/hihg: there is no such field; known: name, type, low, "));
  EXPECT_THAT(text, HasSubstr("/space/1/type: "));
  EXPECT_THAT(text, HasSubstr("/space/2/name: is required"));
  EXPECT_THAT(text, HasSubstr("/space/2/low: there is no such field; known: name, type"));
  EXPECT_THAT(text, HasSubstr("/space/3/choices/1: "));
  EXPECT_THAT(text, HasSubstr("/space/4/size: is required"));
  EXPECT_THAT(text, HasSubstr("/space/4/positions/0: "));
  EXPECT_THAT(text, HasSubstr("/space/5: has to be an object"));
  EXPECT_THAT(refusal("{}"), HasSubstr("/space: has to be an array"));
}

TEST(CandidateJson, NamesEveryParameter) {
  const SearchSpace space = space_of(every_type);
  const json object = candidate_json(space, {0.5, 3, 1, 1, 0.25, 0.5, 0.75, -1});
  EXPECT_EQ(object.dump(), R"({"activation":"gelu","alpha":[0.25,0.5,-0.5,0.75],"beta":[-1.0,2.0],)"
                           R"("flag":true,"n":3,"x":0.5})");
}

TEST(CandidateJson, RandomPointsComeBackBitForBit) {
  const SearchSpace space = space_of(every_type);
  Rng rng(7);
  for (int i = 0; i < 1000; ++i) {
    const Point point = space.sample(rng);
    const std::string text = candidate_json(space, point).dump();
    const auto back = point_from_json(space, document(text), "/candidate");
    ASSERT_TRUE(back.ok()) << back.error().text();
    ASSERT_EQ(*back, point) << text;
  }
}

TEST(CandidateJson, PointsAtEveryProblem) {
  const SearchSpace space = space_of(every_type);
  const auto point = point_from_json(
      space, document(R"({"x":2,"n":1.5,"activation":"tanh","flag":1,"alpha":[1,1,1,1],
                          "gamma":0})"),
      "/candidate");
  ASSERT_FALSE(point.ok());
  const std::string text = point.error().text();
  EXPECT_THAT(text, HasSubstr("/candidate/x: has to lie in [0.001, 1]"));
  EXPECT_THAT(text, HasSubstr("/candidate/n: has to be a whole number"));
  EXPECT_THAT(text, HasSubstr("/candidate/activation: has to be one of: \"relu\""));
  EXPECT_THAT(text, HasSubstr("/candidate/flag: has to be true or false"));
  EXPECT_THAT(text, HasSubstr("/candidate/alpha: has to sum to 1, not to 4"));
  EXPECT_THAT(text, HasSubstr("/candidate/beta: is required"));
  EXPECT_THAT(text, HasSubstr("/candidate/gamma: there is no such field"));
}

TEST(CandidateJson, CoefficientsObeyTheirBounds) {
  const SearchSpace space =
      space_of(R"([{"name":"a","type":"affine","size":3,"low":-1,"high":1}])");
  // The reference coefficient is implied and has no bound of its own.
  EXPECT_TRUE(point_from_json(space, document(R"({"a":[-1,-1,3]})"), "").ok());
  EXPECT_FALSE(point_from_json(space, document(R"({"a":[-2,1,2]})"), "").ok());
  EXPECT_FALSE(point_from_json(space, document(R"({"a":[0.5,0.5]})"), "").ok());
}

TEST(ObjectivesJson, RoundTripsAndDefaultsToMinimize) {
  const auto objectives =
      objectives_from_json(document(R"([{"name":"fd"},{"name":"acc","goal":"maximize"}])"), "");
  ASSERT_TRUE(objectives.ok());
  EXPECT_EQ(to_json(*objectives).dump(),
            R"([{"goal":"minimize","name":"fd"},{"goal":"maximize","name":"acc"}])");
}

TEST(ObjectivesJson, PointsAtEveryProblem) {
  const auto objectives = objectives_from_json(
      document(R"([{"name":"a","goal":"min"},{"name":"a"},{"goal":"minimize"},{"name":""}])"),
      "/objectives");
  ASSERT_FALSE(objectives.ok());
  const std::string text = objectives.error().text();
  EXPECT_THAT(text, HasSubstr("/objectives/0/goal"));
  EXPECT_THAT(text, HasSubstr("/objectives/1/name"));
  EXPECT_THAT(text, HasSubstr("/objectives/2/name: is required"));
  EXPECT_THAT(text, HasSubstr("/objectives/3/name: must not be empty"));
  EXPECT_FALSE(objectives_from_json(json::array(), "").ok());
}

TEST(OutcomeJson, ShowsWhatWasMeasured) {
  Outcome outcome;
  outcome.objectives = {{28.9, 0.3, 1000}, {0.5}};
  outcome.metrics = {{"images", 1000}};
  outcome.cost.seconds = 1.5;
  EXPECT_EQ(to_json(outcome, {{"fd"}, {"acc", Goal::maximize}}),
            document(R"({"status":"ok","objectives":{"fd":{"value":28.9,"stderr":0.3,"n":1000},
                         "acc":{"value":0.5}},"metrics":{"images":1000.0},"seconds":1.5,
                         "attempts":1})"));
}

TEST(OutcomeJson, AFailureHasAReasonAndNoObjectives) {
  const json object = to_json(Outcome::failure(TrialStatus::infeasible, "out of memory"), {{"fd"}});
  EXPECT_EQ(object["status"], "infeasible");
  EXPECT_EQ(object["reason"], "out of memory");
  EXPECT_TRUE(object["objectives"].empty());
}

}  // namespace
}  // namespace paretod
