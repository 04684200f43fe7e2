#include "daemon/cli/arguments.hpp"

#include <gtest/gtest.h>

namespace paretod::cli {
namespace {

Arguments parsed(const std::vector<std::string>& words) {
  const auto arguments = parse_arguments(words);
  EXPECT_TRUE(arguments.ok()) << (arguments.ok() ? "" : arguments.error().message);
  return arguments.ok() ? *arguments : Arguments{};
}

std::string refusal(const std::vector<std::string>& words) {
  const auto arguments = parse_arguments(words);
  return arguments.ok() ? "accepted" : arguments.error().message;
}

TEST(CliArguments, TakesOptionsAnywhereAndInBothForms) {
  const Arguments arguments = parsed(
      {"--url", "http://h:1", "submit", "--seed=7", "job.json", "--trials", "200", "--watch"});
  ASSERT_NE(arguments.verb, nullptr);
  EXPECT_EQ(arguments.verb->name, "submit");
  EXPECT_EQ(arguments.operand, "job.json");
  EXPECT_EQ(arguments.text("--url"), "http://h:1");
  EXPECT_EQ(arguments.count("--seed"), 7u);
  EXPECT_EQ(arguments.count("--trials"), 200u);
  EXPECT_TRUE(arguments.has("--watch"));
  EXPECT_FALSE(arguments.has("--json"));
  EXPECT_EQ(arguments.count("--parallelism"), std::nullopt);
}

TEST(CliArguments, AValueMayLookLikeAVerb) {
  EXPECT_EQ(parsed({"--url", "jobs", "job", "x"}).verb->name, "job");
  EXPECT_EQ(parsed({"--daemon", "http://h:1", "jobs"}).text("--url"), "http://h:1");
  EXPECT_EQ(parsed({"worker", "--url", "http://h:1"}).text("--daemon"), "http://h:1");
}

TEST(CliArguments, KnowsShortNamesAndTheEndOfOptions) {
  EXPECT_EQ(parsed({"export", "a", "-o", "f"}).text("--output"), "f");
  EXPECT_EQ(parsed({"submit", "--", "-odd-name"}).operand, "-odd-name");
  EXPECT_EQ(parsed({"submit", "-"}).operand, "-");
}

TEST(CliArguments, HelpNeedsNothingElse) {
  EXPECT_TRUE(parsed({"--help"}).help);
  EXPECT_EQ(parsed({"--help"}).verb, nullptr);
  EXPECT_EQ(parsed({"front", "-h"}).verb->name, "front");
  EXPECT_TRUE(parsed({"--version"}).version);
}

TEST(CliArguments, SaysWhatIsWrong) {
  EXPECT_EQ(refusal({}), "what should be done? See paretod --help");
  EXPECT_EQ(refusal({"jbos"}), "there is no command \"jbos\"; did you mean jobs?");
  EXPECT_EQ(refusal({"unrelated"}), "there is no command \"unrelated\"");
  EXPECT_EQ(refusal({"jobs", "--staus", "x"}),
            "there is no option \"--staus\"; did you mean --status?");
  EXPECT_EQ(refusal({"front"}), "paretod front needs a JOB");
  EXPECT_EQ(refusal({"front", "a", "b"}), "what is \"b\"? See paretod front --help");
  EXPECT_EQ(refusal({"jobs", "x"}), "what is \"x\"? See paretod jobs --help");
  EXPECT_EQ(refusal({"front", ""}), "the JOB is empty");
  EXPECT_EQ(refusal({"front", "a", "--limit", "-3"}), "--limit takes a whole number, not \"-3\"");
  EXPECT_EQ(refusal({"front", "a", "--limit", "1e3"}), "--limit takes a whole number, not \"1e3\"");
  EXPECT_EQ(refusal({"front", "a", "--limit", "99999999999999999999"}),
            "--limit takes a whole number, not \"99999999999999999999\"");
  EXPECT_EQ(refusal({"front", "a", "--limit"}), "--limit needs a value: --limit N");
  EXPECT_EQ(refusal({"front", "a", "--format", "xml"}),
            "--format takes one of table, json, csv, not \"xml\"");
  EXPECT_EQ(refusal({"jobs", "--json=yes"}), "--json takes no value");
  EXPECT_EQ(refusal({"jobs", "--url="}), "--url is empty");
}

TEST(CliArguments, ServeTakesItsOwnOptionsOnly) {
  EXPECT_EQ(parsed({"serve", "--port", "8780"}).count("--port"), 8780u);
  EXPECT_EQ(refusal({"serve", "--json"}).rfind("there is no option \"--json\"", 0), 0u);
}

TEST(CliArguments, TheHelpKnowsEveryVerbAndOption) {
  const std::string help = general_help();
  for (const Verb& verb : verbs()) {
    EXPECT_NE(help.find("\n  " + std::string(verb.name)), std::string::npos) << verb.name;
    const std::string page = help_of(verb);
    for (const Option& option : verb.options) {
      EXPECT_NE(page.find(option.name), std::string::npos) << verb.name << " " << option.name;
    }
    EXPECT_EQ(page.find("--daemon, --url") != std::string::npos, verb.talks_to_daemon) << verb.name;
  }
}

}  // namespace
}  // namespace paretod::cli
