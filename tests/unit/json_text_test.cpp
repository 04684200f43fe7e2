// JSON written by hand, and the fast half of the parser, each against the library.

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "adapters/json/json_text.hpp"
#include "adapters/json/quick_parse.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

using nlohmann::json;

TEST(JsonTexts, AreThoseOfTheLibrary) {
  std::string ascii;
  for (char c = 0; c < 0x7f; ++c) ascii += c;
  for (const std::string& text :
       {std::string(), std::string("plain"), std::string("a\"b\\c\nd\re\tf"), ascii,
        std::string("caf\u00e9 \U0001f600"), std::string("bad \xff byte")}) {
    std::string out = "x";
    append_json_string(out, text);
    EXPECT_EQ(out, "x" + json(text).dump(-1, ' ', false, json::error_handler_t::replace));
  }
}

TEST(JsonTexts, NumbersReadBackBitForBit) {
  for (const double value :
       {0.0, -0.0, 0.1, -2.0 / 3, 5.0, 1e300, 5e-324, -1.7976931348623157e308}) {
    std::string out;
    append_json_number(out, value);
    const double again = json::parse(out).get<double>();
    EXPECT_EQ(std::signbit(again), std::signbit(value)) << out;
    EXPECT_EQ(again, value) << out;
  }
  std::string out;
  append_json_number(out, std::numeric_limits<std::int64_t>::min());
  out += ' ';
  append_json_number(out, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(out, "-9223372036854775808 18446744073709551615");
}

const std::vector<std::string>& documents() {
  static const std::vector<std::string> texts{
      R"({"content":" w03 w04","tokens":[],"stop":true,"stop_type":"limit","truncated":false,
          "model":"toy","tokens_evaluated":5,"timings":{"cache_n":0,"prompt_ms":1.25e-3}})",
      R"( [1, -1, 0, -0, 0.5, -2.5E+7, 1e-9, 18446744073709551615, -9223372036854775808] )",
      R"({"a":{"b":[{"c":null},[[]],{}]},"text":"line\n\"quoted\"\\\/\t\r"})",
      "\"x\"",
      "3",
      "null"};
  return texts;
}

TEST(QuickParse, ReadsPlainDocuments) {
  for (const std::string& text : documents()) {
    const auto read = parse_json_quickly(text, {});
    ASSERT_TRUE(read) << text;
    EXPECT_EQ(*read, json::parse(text));
    EXPECT_EQ(read->dump(), json::parse(text).dump());  // the same kinds of numbers
  }
}

TEST(QuickParse, LeavesTheRestToTheCarefulHalf) {
  for (const char* text : {"",
                           " ",
                           "{",
                           "[1,]",
                           "[1 2]",
                           "{\"a\":1,}",
                           "{\"a\" 1}",
                           "{a:1}",
                           "01",
                           "1.",
                           ".5",
                           "+1",
                           "1e",
                           "-",
                           "tru",
                           "nulls",
                           "1 2",
                           "\"\\u0041\"",
                           "\"\\x\"",
                           "\"caf\u00e9\"",
                           "\"\x01\"",
                           "\"open",
                           "{\"a\":1,\"a\":2}",
                           "1e400",
                           "99999999999999999999",
                           "NaN",
                           "[1]x"}) {
    EXPECT_FALSE(parse_json_quickly(text, {})) << text;
  }
  const JsonLimits limits{.depth = 2, .nodes = 4, .string_bytes = 3};
  EXPECT_TRUE(parse_json_quickly("[[1,2]]", limits));
  EXPECT_FALSE(parse_json_quickly("[[[]]]", limits));
  EXPECT_FALSE(parse_json_quickly("[1,2,3,4]", limits));
  EXPECT_TRUE(parse_json_quickly("\"abc\"", limits));
  EXPECT_FALSE(parse_json_quickly("\"abcd\"", limits));
  EXPECT_FALSE(parse_json_quickly("{\"abcd\":1}", limits));
}

TEST(QuickParse, NeverDisagreesWithTheLibraryOnDamagedDocuments) {
  Rng rng(11);
  const std::string alphabet = "{}[]\",:\\ntrue0123.eE+- \x01\xc3\xa9";
  std::size_t read = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text = documents()[rng.below(documents().size())];
    for (std::uint64_t edits = 1 + rng.below(3); edits > 0 && !text.empty(); --edits) {
      const std::size_t at = rng.below(text.size());
      const char c = alphabet[rng.below(alphabet.size())];
      switch (rng.below(3)) {
        case 0:
          text[at] = c;
          break;
        case 1:
          text.insert(at, 1, c);
          break;
        default:
          text.erase(at, 1);
      }
    }
    const auto quick = parse_json_quickly(text, {});
    if (!quick) continue;
    ++read;
    const json careful = json::parse(text, nullptr, false);
    ASSERT_FALSE(careful.is_discarded()) << text;
    ASSERT_EQ(quick->dump(), careful.dump()) << text;
  }
  EXPECT_GT(read, 1000U);
}

}  // namespace
}  // namespace paretod
