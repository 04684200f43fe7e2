#include "adapters/json/params_json.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "adapters/json/object_reader.hpp"
#include "adapters/json/parse.hpp"

namespace paretod {

struct JsonSampleParams {
  bool flag = true;
  std::int64_t count = 5;
  double rate = 0.25;
  std::string kind = "fast";
  std::vector<double> weights = {1, 2.5};
  std::vector<std::string> names = {"a"};
};

template <>
Fields<JsonSampleParams> describe() {
  return Fields<JsonSampleParams>()
      .add("flag", &JsonSampleParams::flag, "whether")
      .add("count", &JsonSampleParams::count, "how many", 1, 10)
      .add("rate", &JsonSampleParams::rate, "how fast", 0)
      .add("kind", &JsonSampleParams::kind, "which", {"fast", "slow"})
      .add("weights", &JsonSampleParams::weights, "how much of each", 0, 9)
      .add("names", &JsonSampleParams::names, "who");
}

namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json document(const char* text) {
  return parse_json(text).value();
}

TEST(ParamsJson, ReadsEveryKindOfValue) {
  const auto values = param_values_from_json(
      document(R"({"flag":false,"count":7,"rate":0.5,"kind":"slow","weights":[1,2.5],
                   "names":["x","y"],"none":[]})"),
      "/optimizer/params");
  ASSERT_TRUE(values.ok()) << values.error().text();
  EXPECT_EQ(values->at("flag"), ParamValue(false));
  EXPECT_EQ(values->at("count"), ParamValue(std::int64_t{7}));
  EXPECT_EQ(values->at("rate"), ParamValue(0.5));
  EXPECT_EQ(values->at("kind"), ParamValue(std::string("slow")));
  EXPECT_EQ(values->at("weights"), ParamValue(std::vector<double>{1, 2.5}));
  EXPECT_EQ(values->at("names"), ParamValue(std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(values->at("none"), ParamValue(std::vector<double>{}));
}

TEST(ParamsJson, RoundTrips) {
  const json object = document(R"({"a":true,"b":-3,"c":0.1,"d":"t","e":[1.0,2.0],"f":["x"]})");
  EXPECT_EQ(to_json(param_values_from_json(object, "").value()), object);
}

TEST(ParamsJson, PointsAtEveryOffendingValue) {
  const auto values = param_values_from_json(
      document(R"({"ok":1,"no":null,"a/b":{"x":1},"mixed":[1,"x"]})"), "/optimizer/params");
  ASSERT_FALSE(values.ok());
  std::vector<std::string> pointers;
  for (const Problem& problem : values.error().problems) pointers.push_back(problem.pointer);
  EXPECT_THAT(pointers,
              ::testing::UnorderedElementsAre("/optimizer/params/no", "/optimizer/params/a~1b",
                                              "/optimizer/params/mixed"));
  EXPECT_FALSE(param_values_from_json(json::array(), "/p").ok());
}

TEST(ParamsJson, SchemaDescribesEveryField) {
  const json schema = json_schema(describe<JsonSampleParams>().infos());
  EXPECT_EQ(schema["type"], "object");
  EXPECT_EQ(schema["additionalProperties"], false);
  const json& properties = schema["properties"];
  EXPECT_EQ(properties["count"], document(R"({"type":"integer","default":5,"minimum":1,
                                             "maximum":10,"description":"how many"})"));
  EXPECT_EQ(properties["rate"], document(R"({"type":"number","default":0.25,"minimum":0.0,
                                            "description":"how fast"})"));
  EXPECT_EQ(properties["kind"], document(R"({"type":"string","default":"fast",
                                            "enum":["fast","slow"],"description":"which"})"));
  EXPECT_EQ(properties["flag"]["type"], "boolean");
  EXPECT_EQ(properties["weights"]["items"],
            document(R"({"type":"number","minimum":0.0,"maximum":9.0})"));
  EXPECT_EQ(properties["names"]["items"]["type"], "string");
}

TEST(ParamsJson, FieldsThatDependOnAnotherAreConditionsOfTheSchema) {
  FieldInfo kind{"kind", "which", std::string("a")};
  kind.choices = {"a", "b"};
  FieldInfo of_a{"size", "for a", std::int64_t{1}};
  of_a.only_with = {"kind", "a"};
  FieldInfo of_b{"size", "for b", std::int64_t{2}};
  of_b.only_with = {"kind", "b"};
  const json schema = json_schema({kind, of_a, of_b});
  EXPECT_EQ(schema["unevaluatedProperties"], false);
  EXPECT_FALSE(schema.contains("additionalProperties"));
  EXPECT_EQ(schema["properties"].size(), 1u);
  EXPECT_EQ(schema["allOf"], document(R"([
    {"if":{"properties":{"kind":{"const":"a"}}},
     "then":{"properties":{"size":{"type":"integer","default":1,"description":"for a"}}}},
    {"if":{"properties":{"kind":{"const":"b"}},"required":["kind"]},
     "then":{"properties":{"size":{"type":"integer","default":2,"description":"for b"}}}}])"));
}

TEST(ParamsJson, SchemaReadsBackAsTheSameFields) {
  const json schema = json_schema(describe<JsonSampleParams>().infos());
  const auto fields = fields_from_json(schema["properties"], "/params");
  ASSERT_TRUE(fields.ok()) << fields.error().text();
  EXPECT_EQ(json_schema(*fields), schema);
}

TEST(ParamsJson, DeclaredDefaultMustObeyItsOwnDeclaration) {
  const auto fields =
      fields_from_json(document(R"({"a":{"type":"integer","default":11,"maximum":10},
                   "b":{"type":"nothing","default":1},
                   "c":{"type":"number"},
                   "d":{"type":"number","default":1,"mininum":0}})"),
                       "/params");
  ASSERT_FALSE(fields.ok());
  const std::string text = fields.error().text();
  EXPECT_THAT(text, HasSubstr("/params/a/default"));
  EXPECT_THAT(text, HasSubstr("/params/b/type"));
  EXPECT_THAT(text, HasSubstr("/params/c/default"));
  EXPECT_THAT(text, HasSubstr("/params/d/mininum"));
}

TEST(ObjectReader, CollectsEveryProblemAndNamesWhatIsKnown) {
  const json object = document(R"({"name":3,"coutn":1,"many":-1,"list":["a",2]})");
  Problems problems;
  ObjectReader reader(object, "/thing", problems);
  EXPECT_FALSE(reader.string("name"));
  EXPECT_FALSE(reader.integer("count"));
  EXPECT_FALSE(reader.count("many"));
  EXPECT_FALSE(reader.strings("list"));
  EXPECT_EQ(reader.require("must"), nullptr);
  reader.refuse_others();
  const std::string text = invalid("", problems).text();
  EXPECT_EQ(problems.size(), 5U) << text;
  EXPECT_THAT(text, HasSubstr("/thing/name: has to be a string, not a number"));
  EXPECT_THAT(text, HasSubstr("/thing/many: "));
  EXPECT_THAT(text, HasSubstr("/thing/list/1: "));
  EXPECT_THAT(text, HasSubstr("/thing/must: is required"));
  EXPECT_THAT(text, HasSubstr("/thing/coutn: there is no such field; known: name, count, many"));
}

TEST(ObjectReader, SaysOnceThatAValueIsNoObject) {
  const json value = 5;
  Problems problems;
  ObjectReader reader(value, "/thing", problems);
  reader.require("a");
  reader.refuse_others();
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_EQ(problems[0].pointer, "/thing");
}

TEST(ObjectReader, WholeNumbersStayWithin64Bits) {
  const json object = document(R"({"most":9223372036854775807,"more":9223372036854775808,
                                   "half":0.5,"least":-9223372036854775808})");
  Problems problems;
  ObjectReader reader(object, "", problems);
  EXPECT_EQ(reader.integer("most"), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(reader.integer("least"), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(reader.count("more"), std::uint64_t{1} << 63);
  EXPECT_FALSE(reader.integer("more"));
  EXPECT_FALSE(reader.integer("half"));
}

}  // namespace
}  // namespace paretod
