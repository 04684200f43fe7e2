// JSON written by hand, and the fast half of the parser, each against the library.

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "adapters/json/flat_json.hpp"
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

/// As the tree that it stands for.
json tree_of(const JsonNode& node) {
  json out;
  switch (node.kind()) {
    case JsonNode::Kind::null:
      break;
    case JsonNode::Kind::boolean:
      out = node.is_true();
      break;
    case JsonNode::Kind::count:
      out = node.count();
      break;
    case JsonNode::Kind::integer:
      out = node.integer();
      break;
    case JsonNode::Kind::real:
      out = node.number();
      break;
    case JsonNode::Kind::string:
      out = node.text();
      break;
    case JsonNode::Kind::array:
      out = json::array();
      for (const JsonNode& item : node.items()) out.push_back(tree_of(item));
      break;
    case JsonNode::Kind::object:
      out = json::object();
      for (const JsonNode& member : node.members()) out[member.key()] = tree_of(member);
      break;
  }
  return out;
}

TEST(FlatJson, HoldsWhatTheTreeHolds) {
  FlatJson document;
  for (const std::string& text : documents()) {
    ASSERT_TRUE(document.read(text)) << text;
    EXPECT_EQ(tree_of(document.root()).dump(), json::parse(text).dump());
    EXPECT_EQ(tree_of(FlatJson(json::parse(text)).root()).dump(), json::parse(text).dump());
  }
}

TEST(FlatJson, FindsItsWay) {
  FlatJson document;
  ASSERT_TRUE(document.read(R"({"a":[{"b":[1,2]},[],"\n",7],"c":-3,"d":true})"));
  const JsonNode& root = document.root();
  ASSERT_NE(root.find("a"), nullptr);
  EXPECT_EQ(root.find("a")->size(), 4U);
  EXPECT_EQ(root.find("a")->item(3)->count(), 7U);
  EXPECT_EQ(root.find("a")->item(2)->text(), "\n");
  EXPECT_EQ(root.find("a")->item(0)->find("b")->item(1)->number(), 2);
  EXPECT_EQ(root.find("a")->item(4), nullptr);
  EXPECT_EQ(root.find("b"), nullptr);
  EXPECT_EQ(root.item(0), nullptr);
  EXPECT_EQ(root.find("c")->integer(), -3);
  EXPECT_FALSE(root.find("c")->is_count());
  EXPECT_EQ(root.find("c")->count(), 0U);
  EXPECT_TRUE(root.find("d")->is_true());
  EXPECT_EQ(root.find("d")->number(), 0);
}

TEST(FlatJson, RefusesWhatParseJsonRefuses) {
  FlatJson document;
  for (const char* text : {"", "{", R"({"a":1,"a":2})", "1e400", "[1]x", "\"\xff\""}) {
    const auto read = document.read(text);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().text(), parse_json(text).error().text());
    EXPECT_TRUE(document.root().is_null());
  }
  // What the quick reader leaves to the careful one.
  for (const char* text : {R"("caf\u00e9")", "\"caf\xc3\xa9\"", "18446744073709551616"}) {
    ASSERT_TRUE(document.read(text)) << text;
    EXPECT_EQ(tree_of(document.root()), json::parse(text));
  }
  std::string wide = "{";
  for (int i = 0; i < 100; ++i) wide += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":0";
  ASSERT_TRUE(document.read(wide + "}"));
  EXPECT_EQ(document.root().size(), 100U);
  EXPECT_FALSE(document.read(wide + ",\"7\":1}"));
  EXPECT_FALSE(document.read("[[[]]]", {.depth = 2}));
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
    FlatJson flat;
    ASSERT_TRUE(flat.read(text)) << text;
    ASSERT_EQ(tree_of(flat.root()).dump(), careful.dump()) << text;
  }
  EXPECT_GT(read, 1000U);
}

}  // namespace
}  // namespace paretod
