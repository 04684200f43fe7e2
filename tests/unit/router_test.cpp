// Decoding of targets, problem documents, event formatting, the event queue, and the router.
#include "daemon/rest/router.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace paretod {
namespace {

TEST(PercentDecode, DecodesAndRefuses) {
  EXPECT_EQ(percent_decode("a%2Fb%20c", false), "a/b c");
  EXPECT_EQ(percent_decode("a+b", false), "a+b");
  EXPECT_EQ(percent_decode("a+b", true), "a b");
  EXPECT_EQ(percent_decode("%C3%A9", false), "\xc3\xa9");
  for (const char* bad : {"%", "%2", "%zz", "a%0", "%00", "%0a", "%7f"}) {
    EXPECT_FALSE(percent_decode(bad, false)) << bad;
  }
}

TEST(ParseTarget, SplitsPathAndQuery) {
  HttpRequest request;
  ASSERT_TRUE(parse_target("/v1/jobs?page_size=5&where=fd%3C3&&flag&q=a+b=c", request));
  EXPECT_EQ(request.path, "/v1/jobs");
  EXPECT_EQ(request.query.size(), 4U);
  EXPECT_EQ(request.query_value("page_size"), "5");
  EXPECT_EQ(request.query_value("where"), "fd<3");
  EXPECT_EQ(request.query_value("flag"), "");
  EXPECT_EQ(request.query_value("q"), "a b=c");
  EXPECT_FALSE(request.query_value("missing"));
}

TEST(ParseTarget, RefusesWhatIsNotAPath) {
  HttpRequest request;
  for (const char* bad : {"", "*", "v1", "http://localhost/v1", "/a#b", "/a b", "/%", "/%00",
                          "/a?x=%2", "/\xc3\xa9"}) {
    EXPECT_FALSE(parse_target(bad, request)) << bad;
  }
}

TEST(HttpRequest, FindsTheFirstField) {
  HttpRequest request;
  request.headers = {{"accept", "a"}, {"accept", "b"}};
  EXPECT_EQ(request.header("accept"), "a");
  EXPECT_FALSE(request.header("Accept"));
}

TEST(ProblemResponse, EscapesItsDetail) {
  const HttpResponse response = problem_response(404, "/problems/x", "T", "a \"b\"\\\n\xff");
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.content_type, "application/problem+json");
  EXPECT_EQ(response.body,
            "{\"type\":\"/problems/x\",\"title\":\"T\",\"status\":404,"
            "\"detail\":\"a \\\"b\\\"\\\\\\u000a\\u00ff\"}\n");
}

TEST(FormatEvent, KeepsNewlinesAndLeavesOutWhatIsEmpty) {
  EXPECT_EQ(format_event("1-7", "told", "{}"), "id: 1-7\nevent: told\ndata: {}\n\n");
  EXPECT_EQ(format_event("", "", "a\nb"), "data: a\ndata: b\n\n");
}

EventStream::Frame frame(std::size_t size) {
  return std::make_shared<const std::string>(size, 'x');
}

TEST(EventStream, CountsWhatIsTakenButNotWrittenAsLag) {
  EventStream stream(100);
  EXPECT_TRUE(stream.push(frame(60)));
  EXPECT_EQ(stream.take(1000).size(), 1U);
  EXPECT_TRUE(stream.push(frame(40)));
  stream.written();
  EXPECT_TRUE(stream.push(frame(60)));
  EXPECT_FALSE(stream.overflowed());
  EXPECT_FALSE(stream.push(frame(1)));
  EXPECT_TRUE(stream.overflowed());
}

TEST(EventStream, OverflowReplacesTheQueueByOneReset) {
  EventStream stream(100);
  int ends = 0;
  stream.on_end([&] { ++ends; });
  EXPECT_TRUE(stream.push(frame(100)));
  EXPECT_FALSE(stream.push(frame(1)));
  EXPECT_FALSE(stream.push(frame(1)));
  EXPECT_TRUE(stream.ended());
  EXPECT_FALSE(stream.finished());
  const auto left = stream.take(1000);
  ASSERT_EQ(left.size(), 1U);
  EXPECT_EQ(*left[0], "event: reset\ndata: {\"reason\":\"lagging\",\"limit_bytes\":100}\n\n");
  EXPECT_TRUE(stream.finished());
  stream.client_gone();
  EXPECT_EQ(ends, 1);
}

TEST(EventStream, AcceptsOneLargeFrameWhenNothingWaits) {
  EventStream stream(100);
  EXPECT_TRUE(stream.push(frame(1000)));
  EXPECT_EQ(stream.take(10).size(), 1U);
}

TEST(EventStream, TakesWholeFramesUpToTheAskedSize) {
  EventStream stream(1000);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(stream.push(frame(40)));
  EXPECT_EQ(stream.take(100).size(), 2U);
  EXPECT_EQ(stream.take(1000).size(), 3U);
  EXPECT_TRUE(stream.take(1000).empty());
}

TEST(EventStream, CloseKeepsTheQueueAndAClientGoneDropsIt) {
  EventStream closed;
  EXPECT_TRUE(closed.push(frame(1)));
  closed.close();
  EXPECT_FALSE(closed.push(frame(1)));
  EXPECT_FALSE(closed.finished());
  EXPECT_EQ(closed.take(10).size(), 1U);
  EXPECT_TRUE(closed.finished());

  EventStream gone;
  EXPECT_TRUE(gone.push(frame(1)));
  gone.client_gone();
  EXPECT_TRUE(gone.finished());
  bool told = false;
  gone.on_end([&] { told = true; });
  EXPECT_TRUE(told);
}

TEST(EventStream, WakesOnlyASleepingSessionAndNeverAfterDetach) {
  EventStream stream;
  int wakes = 0;
  stream.attach([&] { ++wakes; });
  EXPECT_TRUE(stream.push(frame(1)));
  EXPECT_EQ(wakes, 0);
  EXPECT_EQ(stream.take(10).size(), 1U);
  EXPECT_TRUE(stream.take(10).empty());
  EXPECT_TRUE(stream.push(frame(1)));
  EXPECT_TRUE(stream.push(frame(1)));
  EXPECT_EQ(wakes, 1);
  EXPECT_EQ(stream.take(10).size(), 2U);
  EXPECT_TRUE(stream.take(10).empty());
  stream.detach();
  stream.close();
  EXPECT_EQ(wakes, 1);
}

TEST(EventStream, AsksForMoreOncePerDrainedQueue) {
  EventStream stream;
  int asked = 0;
  stream.on_drained([&] {
    if (++asked > 2) return;
    EXPECT_TRUE(stream.push(frame(1)));
  });
  EXPECT_EQ(stream.take(10).size(), 1U);
  EXPECT_EQ(stream.take(10).size(), 1U);
  EXPECT_TRUE(stream.take(10).empty());
  EXPECT_TRUE(stream.take(10).empty());
  EXPECT_EQ(asked, 3);
}

RouteHandler named(const std::string& name) {
  return [name](const HttpRequest&, const PathParameters&) {
    HttpResponse response;
    response.body = name;
    return response;
  };
}

RouteHandler parameter(const std::string& name) {
  return [name](const HttpRequest&, const PathParameters& parameters) {
    HttpResponse response;
    response.body = parameters.at(name);
    return response;
  };
}

Router make_router() {
  return Router({
      {"GET", "/v1/jobs", named("list"), "list_jobs"},
      {"POST", "/v1/jobs", named("create"), "create_job", 1024 * 1024},
      {"GET", "/v1/jobs/{job}", parameter("job"), "get_job"},
      {"POST", "/v1/jobs/{job}:pause", parameter("job"), "pause_job"},
      {"POST", "/v1/jobs/{job}:resume", named("resume"), "resume_job"},
      {"GET", "/v1/jobs/{job}/trials/{trial}", parameter("trial"), "get_trial"},
      {"GET", "/", named("root"), "root"},
  });
}

HttpResponse ask(const Router& router, const std::string& method, const std::string& path) {
  HttpRequest request;
  request.method = method;
  request.path = path;
  return router.handle(request);
}

std::string allow(const HttpResponse& response) {
  for (const auto& [name, value] : response.headers) {
    if (name == "Allow") return value;
  }
  return "";
}

TEST(Router, FindsRoutesAndParameters) {
  const Router router = make_router();
  EXPECT_EQ(ask(router, "GET", "/v1/jobs").body, "list");
  EXPECT_EQ(ask(router, "POST", "/v1/jobs").body, "create");
  EXPECT_EQ(ask(router, "GET", "/v1/jobs/j-1").body, "j-1");
  EXPECT_EQ(ask(router, "HEAD", "/v1/jobs/j-1").body, "j-1");
  EXPECT_EQ(ask(router, "GET", "/v1/jobs/%6A%2D1").body, "j-1");
  EXPECT_EQ(ask(router, "GET", "/v1/jobs/a/trials/17").body, "17");
  EXPECT_EQ(ask(router, "GET", "/").body, "root");
}

TEST(Router, FindsVerbs) {
  const Router router = make_router();
  EXPECT_EQ(ask(router, "POST", "/v1/jobs/j-1:pause").body, "j-1");
  EXPECT_EQ(ask(router, "POST", "/v1/jobs/j-1:resume").body, "resume");
  EXPECT_EQ(ask(router, "POST", "/v1/jobs/j-1:explode").status, 404);
  EXPECT_EQ(ask(router, "POST", "/v1/jobs/:pause").status, 404);
  EXPECT_EQ(ask(router, "POST", "/v1/jobs/j-1:pause:pause").status, 404);
  EXPECT_EQ(ask(router, "POST", "/v1/jobs/j-1%3Apause").status, 404);
}

TEST(Router, AnswersUnknownPathsWith404) {
  const Router router = make_router();
  const std::string longest(64, 'a');
  EXPECT_EQ(ask(router, "GET", "/v1/jobs/" + longest).status, 200);
  for (const std::string& path :
       {std::string("/v1"), std::string("/v1/jobs/"), std::string("//v1/jobs"),
        std::string("/v1/jobs/."), std::string("/v1/jobs/.."), std::string("/v1/jobs/%2E%2E"),
        std::string("/v1/jobs/a%2Fb"), std::string("/v1/jobs/a b"), std::string("/v1/jobs/%C3%A9"),
        std::string("*"), std::string(), "/v1/jobs/" + longest + "a"}) {
    const HttpResponse response = ask(router, "GET", path);
    EXPECT_EQ(response.status, 404) << path;
    EXPECT_EQ(response.content_type, "application/problem+json");
  }
}

TEST(Router, AnswersOtherMethodsWith405AndAllow) {
  const Router router = make_router();
  const HttpResponse jobs = ask(router, "DELETE", "/v1/jobs");
  EXPECT_EQ(jobs.status, 405);
  EXPECT_EQ(allow(jobs), "GET, HEAD, OPTIONS, POST");
  EXPECT_EQ(allow(ask(router, "GET", "/v1/jobs/j-1:pause")), "OPTIONS, POST");
  const HttpResponse options = ask(router, "OPTIONS", "/v1/jobs/j-1");
  EXPECT_EQ(options.status, 204);
  EXPECT_EQ(allow(options), "GET, HEAD, OPTIONS");
}

TEST(Router, ListsItsRoutesAndTheirLimits) {
  const Router router = make_router();
  EXPECT_EQ(router.routes().size(), 7U);
  ASSERT_NE(router.find("POST", "/v1/jobs"), nullptr);
  EXPECT_EQ(router.find("POST", "/v1/jobs")->body_limit, 1024U * 1024U);
  EXPECT_EQ(router.find("HEAD", "/v1/jobs")->name, "list_jobs");
  EXPECT_EQ(router.find("POST", "/v1/jobs/a:pause")->body_limit, 64U * 1024U);
  EXPECT_EQ(router.find("POST", "/nowhere"), nullptr);
  EXPECT_EQ(router.find("POST", "*"), nullptr);
}

TEST(Router, RefusesDefectiveLists) {
  EXPECT_THROW(Router({{"GET", "/a", named("a"), "a"}, {"GET", "/a", named("b"), "b"}}),
               std::invalid_argument);
  for (const char* pattern : {"", "a", "/{", "/{}", "/{a}b", "/{a}:"}) {
    EXPECT_THROW(Router({{"GET", pattern, named("a"), "a"}}), std::invalid_argument) << pattern;
  }
  EXPECT_THROW(static_cast<void>(PathParameters().at("missing")), std::out_of_range);
}

}  // namespace
}  // namespace paretod
