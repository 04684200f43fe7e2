// What holds for every type of parameter: sampling, repair, canonical form, JSON, variation.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>

#include "optimizers/variation.hpp"
#include "tests/support/mixed_space.hpp"

namespace paretod {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::string problems_of(const SearchSpace& space, const Point& point) {
  std::string text;
  for (const Problem& problem : space.validate(point)) {
    text += problem.pointer + " " + problem.message + "; ";
  }
  return text;
}

std::string refusal(const std::string& space) {
  const auto parameters = parameters_from_json(json::parse(space), "/space");
  if (!parameters) return parameters.error().text();
  const auto made = SearchSpace::make(*parameters);
  return made ? "accepted" : made.error().text();
}

TEST(MixedSpace, SamplesAreValidAndCanonical) {
  const SearchSpace space = mixed_space();
  for (std::uint64_t i = 0; i < 500; ++i) {
    Rng rng(1, i);
    const Point point = space.sample(rng);
    ASSERT_EQ(problems_of(space, point), "");
    ASSERT_EQ(space.repair(point), point) << "a valid point stays as it is";
  }
}

TEST(MixedSpace, RepairMakesAnythingValidAndIsItsOwnFixedPoint) {
  const SearchSpace space = mixed_space();
  const double wild[] = {std::numeric_limits<double>::quiet_NaN(),
                         std::numeric_limits<double>::infinity(),
                         -1e300,
                         -0.0,
                         0.5,
                         1e9};
  for (std::uint64_t i = 0; i < 500; ++i) {
    Rng rng(2, i);
    Point point(space.dimension());
    for (double& x : point) {
      x = rng.bernoulli(0.3) ? wild[rng.below(std::size(wild))] : rng.uniform(-5, 1005);
    }
    const Point repaired = space.repair(point);
    ASSERT_EQ(problems_of(space, repaired), "");
    ASSERT_EQ(space.repair(repaired), repaired);
    ASSERT_EQ(hash_of(space.repair(repaired)), hash_of(repaired)) << "to the bit";
  }
}

TEST(MixedSpace, PointsGoThroughJsonAndBack) {
  const SearchSpace space = mixed_space();
  for (std::uint64_t i = 0; i < 300; ++i) {
    Rng rng(3, i);
    const Point point = space.sample(rng);
    const json written = candidate_json(space, point);
    const auto read = point_from_json(space, json::parse(written.dump()), "");
    ASSERT_TRUE(read.ok()) << read.error().text() << written.dump();
    ASSERT_EQ(*read, point) << written.dump();
  }
}

TEST(MixedSpace, DefinitionsGoThroughJsonAndBack) {
  const auto parameters = parameters_from_json(json::parse(mixed_space_text), "").value();
  const json once = to_json(parameters);
  EXPECT_EQ(to_json(parameters_from_json(once, "").value()), once);
  EXPECT_EQ(once[3]["when"], json::parse(R"({"kind":["dropout","both"]})"));
  EXPECT_EQ(once[5]["when"], json::parse(R"({"deep":[true]})"));
}

TEST(MixedSpace, InactiveParametersAreLeftOutAndRest) {
  const SearchSpace space = mixed_space();
  std::set<Point> resting;
  for (std::uint64_t i = 0; i < 300; ++i) {
    Rng rng(4, i);
    const Point point = space.sample(rng);
    const json candidate = candidate_json(space, point);
    ASSERT_EQ(candidate.contains("share"), candidate["kind"] != "none");
    ASSERT_EQ(candidate.contains("deep"), candidate["layers"] >= 5);
    ASSERT_EQ(candidate.contains("deepest"),
              candidate.contains("deep") && candidate["deep"] == true)
        << "a condition on a parameter that is not active does not hold";
    if (candidate["kind"] == "none") resting.insert({point[space.offset(3)]});
  }
  EXPECT_EQ(resting.size(), 1U) << "one value, so that equal candidates are equal points";
}

TEST(MixedSpace, CandidatesAreRefusedByName) {
  const SearchSpace space = mixed_space();
  Rng rng(5);
  Point point = space.sample(rng);
  point[space.offset(1)] = 6;  // layers
  point[space.offset(2)] = 0;  // kind: none
  const json good = candidate_json(space, space.repair(point));
  ASSERT_TRUE(point_from_json(space, good, "").ok());
  const auto refusal_of = [&](const std::string& name, const json& value) {
    json bad = good;
    bad[name] = value;
    const auto read = point_from_json(space, bad, "/initial/0");
    return read ? std::string("accepted") : read.error().text();
  };
  EXPECT_THAT(refusal_of("share", 0.1), HasSubstr("/initial/0/share: is not active"));
  EXPECT_THAT(refusal_of("mix", {0.5, 0.6, 0.2}), HasSubstr("/mix: has to sum to 1"));
  EXPECT_THAT(refusal_of("mix", {1.5, -0.5, 0}), HasSubstr("accepted")) << "projected, no guess";
  EXPECT_THAT(refusal_of("parts", {"p", "p"}), HasSubstr("/parts: lists \"p\" twice"));
  EXPECT_THAT(refusal_of("parts", json::array()), HasSubstr("/parts: chooses too few"));
  EXPECT_THAT(refusal_of("parts", {"z"}), HasSubstr("has to be one of: \"p\" \"q\""));
  EXPECT_THAT(refusal_of("order", {"u", "v", "w"}), HasSubstr("all 4 items"));
  EXPECT_THAT(refusal_of("order", {"u", "v", "w", "w"}), HasSubstr("every item once"));
  EXPECT_THAT(refusal_of("steps", {5}), HasSubstr("2 to 4 steps"));
  EXPECT_THAT(refusal_of("steps", json::parse(R"([{"at":1,"choice":"euler"},{"at":5}])")),
              HasSubstr("step 1 has to be one of: \"ddim\" \"dpm\""));
  EXPECT_THAT(refusal_of("steps", json::parse(R"([{"at":1.5,"choice":"dpm"},{"at":5}])")),
              HasSubstr("step 1 has to be a whole number"));
  EXPECT_THAT(refusal_of("steps", json::parse(R"([{"at":5,"choice":"dpm","mask":["attn"]},
                                                  {"at":7,"choice":"dpm"}])")),
              HasSubstr("/steps: step 1 has to be one of: \"down\" \"mid\" \"up\""));
  EXPECT_THAT(refusal_of("steps", json::parse(R"([{"at":5,"choice":"dpm","drop":["up"]},
                                                  {"at":7,"choice":"dpm"}])")),
              HasSubstr("step 1 cannot have \"drop\": steps of \"steps\" have at, choice, mask"));
  EXPECT_THAT(refusal_of("steps", json::parse(R"([{"at":5,"choice":"dpm"},
                                                  {"at":1000,"choice":"dpm"}])")),
              HasSubstr("step 2 has to lie in"));
  EXPECT_THAT(refusal_of("nodes", {0.5, 2}), HasSubstr("step 2 has to lie in"));
  EXPECT_THAT(refusal_of("nodes", json::parse(R"([{"at":0.5,"mask":["up"]},0.7])")),
              HasSubstr("step 1 cannot have \"mask\""));
  EXPECT_THAT(refusal_of("nodes", {0.7, 0.5, 0.7}), HasSubstr("step 3 is where step 1 is"));
  EXPECT_THAT(refusal_of("other", 1), HasSubstr("/initial/0/other"));
}

TEST(MixedSpace, BadDefinitionsAreRefusedByPointer) {
  const auto one = [](const std::string& fields) {
    return refusal(R"([{"name":"a","type":"categorical","choices":["x","y"]},{"name":"p",)" +
                   fields + "}]");
  };
  EXPECT_THAT(one(R"("type":"simplex","size":1)"), HasSubstr("/space/1/size"));
  EXPECT_THAT(one(R"("type":"subset","choices":["u"],"least":2,"most":1)"),
              HasSubstr("/space/1/least"));
  EXPECT_THAT(one(R"("type":"subset","choices":["u"],"most":3)"), HasSubstr("/space/1/most"));
  EXPECT_THAT(one(R"("type":"permutation","choices":["u"])"), HasSubstr("/space/1/choices"));
  EXPECT_THAT(one(R"("type":"schedule","low":0,"high":3,"whole":true,"least":2,"most":9)"),
              HasSubstr("/space/1/most"));
  EXPECT_THAT(one(R"("type":"schedule","low":0,"high":3,"least":0)"), HasSubstr("/space/1/least"));
  EXPECT_THAT(one(R"("type":"schedule","low":3,"high":3,"least":1)"), HasSubstr("/space/1/low"));
  EXPECT_THAT(one(R"("type":"boolean","when":{"b":1})"), HasSubstr("/space/1/when: no parameter"));
  EXPECT_THAT(one(R"("type":"boolean","when":{"p":true})"), HasSubstr("/space/1/when"));
  EXPECT_THAT(one(R"("type":"boolean","when":{"a":["z"]})"), HasSubstr("/space/1/when/a/0"));
  EXPECT_THAT(one(R"("type":"boolean","when":{"a":[]})"), HasSubstr("needs at least one value"));
  EXPECT_THAT(one(R"("type":"boolean","when":{"a":"x","b":"y"})"), HasSubstr("/space/1/when"));
  EXPECT_THAT(refusal(R"([{"name":"r","type":"real","low":0,"high":1},
                          {"name":"p","type":"boolean","when":{"r":0.5}}])"),
              HasSubstr("/space/1/when"));
}

TEST(MixedSpace, TheUnitCubeCoversTheSpaceEvenly) {
  const SearchSpace space = mixed_space();
  EXPECT_EQ(problems_of(space, space.from_unit(std::vector<double>(space.dimension(), 0.0))), "");
  EXPECT_EQ(problems_of(space, space.from_unit(std::vector<double>(space.dimension(), 0.999999))),
            "");
  std::vector<double> unit(space.dimension(), 0.5);
  unit[1] = 0.34;
  EXPECT_EQ(space.from_unit(unit)[1], 3) << "the third of six equal parts";
  EXPECT_NEAR(space.from_unit(unit)[0], std::sqrt(0.001), 1e-12) << "the middle of a log scale";
}

TEST(Simplex, ProjectionIsTheNearestPoint) {
  std::vector<double> shares{0.8, 0.6, -0.1};
  project_to_simplex(shares);
  EXPECT_NEAR(shares[0], 0.6, 1e-12);
  EXPECT_NEAR(shares[1], 0.4, 1e-12);
  EXPECT_EQ(shares[2], 0);
}

TEST(Variation, ChildrenAreValidAndReproducible) {
  const SearchSpace space = mixed_space();
  const Variation variation(space, {});
  std::size_t changed = 0;
  for (std::uint64_t i = 0; i < 500; ++i) {
    Rng rng(6, i);
    const Point a = space.sample(rng);
    const Point b = space.sample(rng);
    Rng first(7, i);
    Rng second(7, i);
    const Point child = variation.child(a, b, first);
    ASSERT_EQ(problems_of(space, child), "");
    ASSERT_EQ(child, variation.child(a, b, second));
    changed += child != a && child != b ? 1 : 0;
  }
  EXPECT_GT(changed, 450U);
}

TEST(Variation, ReachesEveryValueOfSmallTypes) {
  const SearchSpace space = mixed_space();
  const Variation variation(space, {.mutation_probability = 0.3});
  std::set<double> layers;
  std::set<std::vector<double>> orders;
  std::set<double> counts;
  Rng rng(8);
  Point point = space.sample(rng);
  for (int i = 0; i < 3000; ++i) {
    point = variation.child(point, point, rng);
    layers.insert(point[1]);
    const auto order = point.begin() + static_cast<std::ptrdiff_t>(space.offset(9));
    orders.insert({order, order + 4});
    counts.insert(point[space.offset(10)]);
  }
  EXPECT_EQ(layers.size(), 6U);
  EXPECT_EQ(orders.size(), 24U);
  EXPECT_EQ(counts.size(), 3U);
}

}  // namespace
}  // namespace paretod
