#include "daemon/cli/surrogate_view.hpp"

#include <gtest/gtest.h>

namespace paretod::cli {
namespace {

std::string joined(const Lines& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

const Json predicted = Json::parse(R"({
  "job":"map-abc","status":"succeeded","source":"predicted","trials":20,"front_size":3,
  "objectives":[{"name":"a","goal":"maximize"},{"name":"b","goal":"maximize"}],
  "verdict":"trade-off","warnings":["b is predicted badly"],"where":null,"message":"",
  "chosen":{"candidate":{"x":0.5,"y":0.25},"extrapolated":false,
            "objectives":{"a":{"mean":0.9,"sd":0.01},"b":{"mean":0.8,"sd":0.02}},
            "nearest":{"trial":7,"distance":0.05,"objectives":{}},
            "why":{"method":"chebyshev","sentence":"Predicted: the best."}},
  "points":[
   {"candidate":{"x":0,"y":1},"objectives":{"a":{"mean":0.7,"sd":0.01},"b":{"mean":0.95,"sd":0.02}},
    "nearest":{"trial":3,"distance":0.125,"objectives":{}},"extrapolated":true},
   {"candidate":{"x":0.5,"y":0.5},"objectives":{"a":{"mean":0.85,"sd":0.01},
    "b":{"mean":0.85,"sd":0.02}},"nearest":{"trial":7,"distance":0.05,"objectives":{}},
    "extrapolated":false},
   {"candidate":{"x":1,"y":0},"objectives":{"a":{"mean":0.95,"sd":0.01},"b":{"mean":0.6,"sd":0.02}},
    "nearest":null,"extrapolated":false}]})");

TEST(CliSurrogate, ShowsAModelPerObjective) {
  const Json surrogate = Json::parse(R"({
    "job":"map-abc","optimizer":"map","observations":18,"infeasible":2,
    "objectives":[{"name":"a","goal":"maximize","link":"logit","form":"full","terms":6,
      "wanted_terms":6,"loo_r2":0.98,"loo_rmse":0.012,"curvature":"saddle",
      "eigenvalues":[-1.5,0.25],"best":{"candidate":{"x":0.5},"mean":0.96,"sd":0.01}}],
    "verdict":"single solution","verdict_reason":"one point is best",
    "coordinates":[{"name":"x","sampled_low":0,"sampled_high":1}],"warnings":["careful"]})");
  const std::string text = joined(surrogate_view(surrogate, {}));
  for (const char* part :
       {"map-abc: surrogate fitted by map to 18 measured points (2 could not be measured)",
        "a (max)", "logit", "full, 6 of 6", "0.98", "saddle (1+ 1-)", "0.960 ± 0.010", "x=0.5",
        "verdict: single solution: one point is best", "sampled: x 0..1", "note: careful"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
}

TEST(CliSurrogate, SaysHowAnUnclearVerdictIsCleared) {
  Json surrogate = Json::parse(R"({"job":"map-abc","objectives":[],"verdict":"unclear",
    "verdict_reason":"have about 6 more points measured"})");
  const char* command = "paretod verify map-abc --count N has N points measured";
  EXPECT_NE(joined(surrogate_view(surrogate, {})).find(command), std::string::npos);
  surrogate["verdict"] = "trade-off";
  EXPECT_EQ(joined(surrogate_view(surrogate, {})).find(command), std::string::npos);
}

TEST(CliSurrogate, ShowsThePredictedFrontAndTheMeasuredOneInThePicture) {
  const Json measured = Json::parse(R"({"points":[
    {"objectives":{"a":{"value":0.8},"b":{"value":0.7}}}]})");
  const std::string text = joined(predicted_front_view(predicted, measured, 2, {120, true}));
  for (const char* part :
       {"map-abc (succeeded): predicted front of 3 points, from 20 trials; trade-off",
        "chosen (predicted): a 0.900 ± 0.010 b 0.800 ± 0.020", "Predicted: the best.",
        "nearest trial", "3 (0.125 away)", "(extrapolated)", "(2 of 3 points",
        "○ predicted  • measured", "note: b is predicted badly", "◆"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
  // Nothing that could be taken for a trial's own value without a picture.
  EXPECT_EQ(joined(predicted_front_view(predicted, {}, 0, {})).find("•"), std::string::npos);
}

TEST(CliSurrogate, ComparesMeasurementsWithWhatWasPredicted) {
  const Json verification = Json::parse(R"({"trials":[
    {"trial":21,"candidate":{"x":0.5},"predicted":{"a":{"mean":0.9,"sd":0.01}}},
    {"trial":22,"candidate":{"x":0.75},"predicted":null}]})");
  const std::vector<Json> told = {Json::parse(
      R"({"number":21,"status":"ok","outcome":{"objectives":{"a":{"value":0.893,"stderr":0.004}}}})")};
  const std::string text = joined(verified_view(verification, told, {}));
  for (const char* part :
       {"a predicted", "measured", "0.900 ± 0.010", "0.8930 ± 0.0040", "asked"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
  const std::string alone = joined(verified_view(verification, {}, {}));
  EXPECT_EQ(alone.find("measured"), std::string::npos);
}

}  // namespace
}  // namespace paretod::cli
