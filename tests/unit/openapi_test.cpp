// The OpenAPI document against the routes that the daemon really serves.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "daemon/rest/api.hpp"
#include "daemon/store/memory_backend.hpp"

namespace paretod {
namespace {

using nlohmann::json;

class OpenApi : public testing::Test {
 protected:
  MemoryBackend backend_;
  std::unique_ptr<Catalog> catalog_ = std::move(*Catalog::make({}, {}));
  JobManager manager_{backend_, *catalog_, {}};
  Api api_{manager_, {}};
  const json& document_ = api_.openapi();
};

using MethodAndPath = std::pair<std::string, std::string>;

TEST_F(OpenApi, DescribesExactlyTheRoutes) {
  std::set<MethodAndPath> served;
  for (const Route& route : api_.router().routes()) served.emplace(route.method, route.pattern);
  std::set<MethodAndPath> described;
  for (const auto& [path, methods] : document_["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      std::string upper = method;
      for (char& c : upper) c = static_cast<char>(c - 'a' + 'A');
      described.emplace(upper, path);
    }
  }
  EXPECT_EQ(served, described);
  EXPECT_GE(served.size(), 18U);
}

TEST_F(OpenApi, EveryOperationSaysWhatItDoesAndAnswers) {
  std::set<std::string> names;
  for (const auto& [path, methods] : document_["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      const std::string where = method + " " + path;
      EXPECT_FALSE(operation["summary"].get<std::string>().empty()) << where;
      EXPECT_TRUE(names.insert(operation["operationId"]).second) << where;
      EXPECT_TRUE(operation["responses"].contains("default")) << where;
      bool succeeds = false;
      for (const auto& [status, response] : operation["responses"].items()) {
        succeeds = succeeds || status[0] == '2';
        EXPECT_FALSE(response["description"].get<std::string>().empty()) << where;
      }
      EXPECT_TRUE(succeeds) << where;
      if (path.find("{job}") != path.npos) {
        EXPECT_TRUE(operation["responses"].contains("404")) << where;
      }
    }
  }
}

TEST_F(OpenApi, DeclaresEveryPathParameter) {
  const std::regex braces("\\{([a-z]+)\\}");
  for (const auto& [path, methods] : document_["paths"].items()) {
    std::set<std::string> wanted;
    for (std::sregex_iterator it(path.begin(), path.end(), braces), end; it != end; ++it) {
      wanted.insert((*it)[1]);
    }
    for (const auto& [method, operation] : methods.items()) {
      std::set<std::string> declared;
      for (const json& parameter : operation["parameters"]) {
        if (parameter["in"] == "path") declared.insert(parameter["name"]);
      }
      EXPECT_EQ(declared, wanted) << path;
    }
  }
}

void collect_references(const json& value, std::set<std::string>& found) {
  if (value.is_object() && value.contains("$ref")) found.insert(value["$ref"]);
  if (!value.is_structured()) return;
  for (const auto& item : value) collect_references(item, found);
}

TEST_F(OpenApi, EveryReferenceResolvesAndEverySchemaIsUsed) {
  std::set<std::string> used;
  collect_references(document_, used);
  std::set<std::string> known;
  for (const auto& [name, schema] : document_["components"]["schemas"].items()) {
    known.insert("#/components/schemas/" + name);
  }
  EXPECT_EQ(used, known);
}

TEST_F(OpenApi, IsServed) {
  HttpRequest request;
  request.method = "GET";
  request.path = "/openapi.json";
  const HttpResponse response = api_.handle(request);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(json::parse(response.body), document_);
  EXPECT_EQ(document_["openapi"], "3.1.0");
}

TEST_F(OpenApi, OnlyHealthNeedsNoCredentials) {
  for (const auto& [path, methods] : document_["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      EXPECT_EQ(operation.contains("security"), path == "/healthz") << path;
    }
  }
}

}  // namespace
}  // namespace paretod
