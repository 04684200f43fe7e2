#include "daemon/rest/problem.hpp"

#include <nlohmann/json.hpp>

#include "daemon/rest/json_text.hpp"

namespace paretod {

const ProblemType& problem_type(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::invalid:
      return problem_types::invalid_request;
    case ErrorKind::not_found:
      return problem_types::not_found;
    case ErrorKind::conflict:
      return problem_types::conflict;
    case ErrorKind::unavailable:
      return problem_types::unavailable;
    case ErrorKind::denied:
      return problem_types::denied;
    case ErrorKind::exhausted:
      return problem_types::exhausted;
    case ErrorKind::corrupt:
      return problem_types::corrupt;
    case ErrorKind::internal:
      break;
  }
  return problem_types::internal;
}

HttpResponse problem_response(const ProblemType& type, const std::string& detail,
                              const Problems& problems) {
  nlohmann::json document{
      {"type", type.type}, {"title", type.title}, {"status", type.status}, {"detail", detail}};
  for (const Problem& problem : problems) {
    document["problems"].push_back({{"pointer", problem.pointer}, {"message", problem.message}});
  }
  HttpResponse response;
  response.status = type.status;
  response.content_type = "application/problem+json";
  response.body = to_text(document);
  if (type.status == 503 || type.status == 429) response.headers.emplace_back("Retry-After", "1");
  return response;
}

HttpResponse problem_response(const Error& error) {
  return problem_response(problem_type(error.kind), error.message, error.problems);
}

HttpResponse problem_response(const Error& error, const ProblemType& type) {
  return problem_response(error.kind == ErrorKind::invalid ? type : problem_type(error.kind),
                          error.message, error.problems);
}

}  // namespace paretod
