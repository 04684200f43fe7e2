#include "adapters/json/parse.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

namespace paretod {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

std::string refusal(std::string_view text, const JsonLimits& limits = {}) {
  const auto parsed = parse_json(text, limits);
  return parsed ? "accepted" : parsed.error().text();
}

TEST(ParseJson, AcceptsWhatIsJson) {
  const std::string text =
      R"({"a":[1,-2,3.5,true,false,null,"text",{"b":[]}],"c":{},"d":18446744073709551615})";
  const auto parsed = parse_json(text);
  ASSERT_TRUE(parsed.ok()) << parsed.error().text();
  EXPECT_EQ(parsed->dump(), text);
  EXPECT_EQ(*parse_json(" 7 "), json(7));
}

TEST(ParseJson, KeepsDoublesBitForBit) {
  for (const double value : {0.1, -0.0, 5e-324, 1.7976931348623157e308, 1.0 / 3}) {
    const auto parsed = parse_json(json(value).dump());
    ASSERT_TRUE(parsed.ok());
    const auto back = parsed->get<double>();
    EXPECT_EQ(std::signbit(back), std::signbit(value));
    EXPECT_EQ(back, value);
  }
}

TEST(ParseJson, NamesThePlaceOfASyntaxError) {
  EXPECT_THAT(refusal("{\n  \"a\": 1,\n  b: 2\n}"), HasSubstr("line 3, column 3"));
  EXPECT_THAT(refusal(""), HasSubstr("line 1, column 1"));
}

TEST(ParseJson, RefusesWhatIsNotJson) {
  for (const std::string text : {"NaN", "[Infinity]", "{\"a\":1}x", "[1,]", "'a'", "01", "[1 2]",
                                 "\"\x01\"", "\"\xff\"", "1e999", "\"\\ud800\"", "{\"a\":1"}) {
    EXPECT_THAT(refusal(text), HasSubstr("not valid JSON")) << text;
  }
}

TEST(ParseJson, ErrorsArePrintable) {
  for (const char c : refusal("[\"\xff\xfe\x01 garbage\"]")) {
    EXPECT_TRUE((c >= ' ' && c <= '~') || c == '\n');
  }
}

TEST(ParseJson, RefusesARepeatedKeyAtItsPlace) {
  const auto parsed = parse_json(R"({"jobs":[{"id":1},{"a/b":1,"a/b":2}]})");
  ASSERT_FALSE(parsed.ok());
  ASSERT_EQ(parsed.error().problems.size(), 1U);
  EXPECT_EQ(parsed.error().problems[0].pointer, "/jobs/1/a~1b");
}

TEST(ParseJson, AllowsTheSameKeyInSiblings) {
  EXPECT_TRUE(parse_json(R"({"x":{"k":1},"y":{"k":1},"k":[{"k":1}]})").ok());
}

TEST(ParseJson, BoundsDepth) {
  const JsonLimits limits{.depth = 3};
  EXPECT_TRUE(parse_json("[[[1]]]", limits).ok());
  const auto parsed = parse_json(R"({"a":[0,[[1]]]})", limits);
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.error().problems.at(0).pointer, "/a/1");
  EXPECT_THAT(refusal(std::string(1'000'000, '[')), HasSubstr("deeper than 32"));
}

TEST(ParseJson, BoundsTheNumberOfValues) {
  const JsonLimits limits{.nodes = 4};
  EXPECT_TRUE(parse_json("[1,2,3]", limits).ok());
  EXPECT_THAT(refusal("[1,2,3,4]", limits), HasSubstr("more than 4 values"));
  EXPECT_THAT(refusal("[[],[],[],[]]", limits), HasSubstr("more than 4 values"));
}

TEST(ParseJson, BoundsStringsAndKeys) {
  const JsonLimits limits{.string_bytes = 3};
  EXPECT_TRUE(parse_json(R"({"abc":"def"})", limits).ok());
  EXPECT_THAT(refusal(R"({"a":"defg"})", limits), HasSubstr("longer than 3 bytes"));
  EXPECT_THAT(refusal(R"({"abcd":1})", limits), HasSubstr("longer than 3 bytes"));
}

TEST(PointerToken, EscapesPerRfc6901) {
  EXPECT_EQ(pointer_token("a/b~c"), "a~1b~0c");
  EXPECT_EQ(pointer_token("~1"), "~01");
}

}  // namespace
}  // namespace paretod
